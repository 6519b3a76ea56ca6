// sched - stop when the best logits lead the second best by enough, the bar falling smoothly as the canvas proceeds.
#include <cmath>
#include <numbers>

#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The mean gap between the two best logits of the open positions, at temperature 1 whatever the step's, against a bar that falls from `from` to
/// `to` over the canvas's steps; u = step / num_steps. UNVERIFIED: the published curves and constants; the abstract says
/// "full-span logit margins" and "a smooth, progress-dependent threshold", the three shapes and the ends (those of prophet) are
/// our reading. Emit the argmax canvas, as prophet. Source: arXiv:2512.02892 (SchED, abstract); samplers.md 6.9.
class Sched final : public StopRule {
 public:
  explicit Sched(const Options& options) : from_(options.real("from")), to_(options.real("to")), shape_(options.text("shape")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    const RowStatistics& s = *view.statistics;
    const double temperature = view.temperature == 0 ? 1.0 : static_cast<double>(view.temperature);  // statistics at 0 are those at 1
    double sum = 0, count = 0;
    for (size_t p = 0; p < view.length(); ++p)
      if (view.is_allowed(p)) sum += temperature * (static_cast<double>(s.argmax_logprob[p]) - s.second_logprob[p]), ++count;
    if (count == 0 || sum / count >= bar(static_cast<double>(view.step_idx) / view.num_steps)) return "sched";
    return std::nullopt;
  }

 private:
  double bar(double u) const {
    if (shape_ == "exponential") return from_ * std::pow(to_ / from_, u);
    return from_ + (to_ - from_) * (shape_ == "linear" ? u : (1 - std::cos(std::numbers::pi * u)) / 2);
  }
  double from_, to_;
  std::string shape_;
};

ParamSpec gap(const char* name, double fallback, const char* doc) {
  ParamSpec out = real_param(name, fallback, 0, 1000, "logits", doc);
  out.above_min = true;
  return out;
}

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "sched",
    .summary = "stop when the best logits lead the second best by enough, the bar falling smoothly as the canvas proceeds",
    .source = "arXiv:2512.02892 (SchED); curves and constants our reading",
    .aliases = {"margin_schedule"},
    .parameters = {gap("from", 7.5, "mean gap needed at the first step"), gap("to", 2.5, "towards the last step"),
                   text_param("shape", "linear", "how the bar falls", {"linear", "cosine", "exponential"})},
    .facts = {.statistics = {Statistic::kMax, Statistic::kTop2}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Sched>(options); }});

}  // namespace
}  // namespace canvaslab
