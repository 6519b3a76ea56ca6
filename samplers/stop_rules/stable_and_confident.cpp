// stable_and_confident - stop when the argmax canvas stands still and the mean entropy is below a threshold.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class StableAndConfident final : public StopRule {
 public:
  explicit StableAndConfident(const Options& options)
      : stability_(options.integer("stability_threshold")), confidence_(static_cast<float>(options.real("confidence_threshold"))) {}
  std::optional<StableStop> stable_stop() const override { return StableStop{confidence_, static_cast<int32_t>(stability_)}; }
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory& history) const override {
    if (mean_entropy(view) >= confidence_) return std::nullopt;
    if (!argmax_stable(view, history, stability_)) return std::nullopt;
    return "stable_and_confident";
  }

 private:
  int64_t stability_;
  float confidence_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "stable_and_confident",
    .summary = "stop when the argmax canvas stands still and the mean entropy is below a threshold",
    .source = "transformers DiffusionGemma (strict <); model.md 5.4",
    .aliases = {},
    .parameters = {int_param("stability_threshold", 1, 0, 1000, "steps", "earlier argmax canvases that must be equal; 0: always stable"), real_param("confidence_threshold", 0.005, 0, 100, "nats", "mean entropy must be strictly below")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<StableAndConfident>(options); }});

}  // namespace
}  // namespace canvaslab
