// prophet - stop as soon as the best tokens lead the second best by enough, less and less as the canvas proceeds.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// Mean gap between the two best logits over the canvas >= early / mid / late for progress i / N below 0.33 / 0.67 / above.
/// The gap is taken from the log-probabilities and the temperature, so that annealing does not change it. What is emitted
/// then should be the argmax canvas (--emit argmax), as the authors fill the rest with it. The thresholds are those of
/// LLaDA, whose logits have no soft-cap: tune them anew. Source: arXiv:2508.19982, pixeli99/Prophet; samplers.md 6.9.
class Prophet final : public StopRule {
 public:
  explicit Prophet(const Options& options) : early_(options.real("early")), mid_(options.real("mid")), late_(options.real("late")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    const RowStatistics& s = *view.statistics;
    const double temperature = view.temperature == 0 ? 1.0 : static_cast<double>(view.temperature);  // statistics at 0 are those at 1
    double sum = 0;
    size_t count = 0;
    for (size_t p = 0; p < view.length(); ++p) {
      if (!view.is_allowed(p)) continue;
      sum += temperature * (static_cast<double>(s.argmax_logprob[p]) - s.second_logprob[p]);
      ++count;
    }
    const double progress = static_cast<double>(view.step_idx) / view.num_steps;
    const double threshold = progress < 0.33 ? early_ : progress < 0.67 ? mid_ : late_;
    if (count == 0 || sum / static_cast<double>(count) >= threshold) return "prophet";
    return std::nullopt;
  }

 private:
  double early_, mid_, late_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "prophet",
    .summary = "stop when the best logits lead the second best by enough, less and less as the canvas proceeds",
    .source = "arXiv:2508.19982 (Prophet); pixeli99/Prophet",
    .aliases = {},
    .parameters = {real_param("early", 7.5, 0, 1000, "logits", "mean gap needed in the first third"), real_param("mid", 5, 0, 1000, "logits", "in the second third"),
                   real_param("late", 2.5, 0, 1000, "logits", "in the last third")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kTop2}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Prophet>(options); }});

}  // namespace
}  // namespace canvaslab
