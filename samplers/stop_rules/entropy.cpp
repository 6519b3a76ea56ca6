// entropy - stop when the mean entropy of the canvas is at or under a bound.
#include <algorithm>

#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The entropy of the canvas as its mean, its largest, or the mean over the positions that take a token at this step (none
/// taken: go on). The mean lets a few open positions pass on a long canvas; the largest does not.
class Entropy final : public StopRule {
 public:
  explicit Entropy(const Options& options) : max_(static_cast<float>(options.real("max_entropy"))), over_(options.text("over")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory&) const override {
    const std::optional<float> entropy = over_ == "mean" ? mean_entropy(view) : over_ == "max" ? largest(view) : mean_taken(view, decision);
    if (entropy && *entropy <= max_) return "entropy";
    return std::nullopt;
  }

 private:
  static float largest(const StepView& view) {
    float out = 0;
    for (size_t p = 0; p < view.length(); ++p)
      if (view.is_allowed(p)) out = std::max(out, view.statistics->entropy_nats[p]);
    return out;
  }
  static std::optional<float> mean_taken(const StepView& view, const StepDecision& decision) {
    double sum = 0, count = 0;
    for (size_t p = 0; p < decision.action.size(); ++p) {
      if (!view.is_allowed(p) || decision.action[p] == Action::kNoise || decision.action[p] == Action::kKeep) continue;
      sum += view.statistics->entropy_nats[p];
      count += 1;
    }
    if (count == 0) return std::nullopt;
    return static_cast<float>(sum / count);
  }
  float max_;
  std::string over_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "entropy",
    .summary = "stop when the entropy of the canvas is at or under a bound",
    .source = "google-deepmind/gemma EntropyEarlyStop (<=)",
    .aliases = {},
    .parameters = {real_param("max_entropy", 0.005, 0, 100, "nats", "of tempered logits"),
                   added_late(text_param("over", "mean", "mean or max over the canvas, or the mean over the positions taken at this step", {"mean", "max", "taken"}))},
    .facts = {.statistics = {Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Entropy>(options); }});

}  // namespace
}  // namespace canvaslab
