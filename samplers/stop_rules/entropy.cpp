// entropy - stop when the mean entropy of the canvas is at or under a bound.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class Entropy final : public StopRule {
 public:
  explicit Entropy(const Options& options) : max_(static_cast<float>(options.real("max_entropy"))) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    if (mean_entropy(view) <= max_) return "entropy";
    return std::nullopt;
  }

 private:
  float max_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "entropy",
    .summary = "stop when the mean entropy of the canvas is at or under a bound",
    .source = "google-deepmind/gemma EntropyEarlyStop (<=)",
    .aliases = {},
    .parameters = {real_param("max_entropy", 0.005, 0, 100, "nats", "mean over the canvas, of tempered logits")},
    .facts = {.statistics = {Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Entropy>(options); }});

}  // namespace
}  // namespace canvaslab
