// plateau - stop when the argmax canvas has hardly changed for a while and the mean entropy is low.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// At each of the last `steps` transitions at most `max_flips` argmax tokens changed, and the mean entropy is below
/// `max_entropy`. stable_and_confident with a tolerance: a pair of positions that swaps back and forth does not hold the
/// canvas up. Source: ours, after the plateau stops of mmastrac/diffgemma (which watch the accepted set; newer.md 1.3).
class Plateau final : public StopRule {
 public:
  explicit Plateau(const Options& options)
      : steps_(static_cast<size_t>(options.integer("steps"))), max_flips_(options.integer("max_flips")), max_entropy_(static_cast<float>(options.real("max_entropy"))) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory& history) const override {
    if (history.argmax.size() < steps_ || mean_entropy(view) >= max_entropy_) return std::nullopt;
    std::span<const int32_t> later = view.statistics->argmax;
    for (size_t i = 0; i < steps_; ++i) {
      const auto& earlier = history.argmax[history.argmax.size() - 1 - i];
      int64_t flips = 0;
      for (size_t p = 0; p < view.length(); ++p) flips += view.is_allowed(p) && later[p] != earlier[p];
      if (flips > max_flips_) return std::nullopt;
      later = earlier;
    }
    return "plateau";
  }

 private:
  size_t steps_;
  int64_t max_flips_;
  float max_entropy_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "plateau",
    .summary = "stop when the argmax canvas has hardly changed for a while and the mean entropy is low",
    .source = "ours; after mmastrac/diffgemma",
    .aliases = {},
    .parameters = {int_param("steps", 8, 1, 1000000, "steps", "transitions that must be quiet"), int_param("max_flips", 1, 0, 1000000, "positions", "argmax tokens that may change in each"),
                   real_param("max_entropy", 0.05, 0, 100, "nats", "mean entropy must be strictly below")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Plateau>(options); }});

}  // namespace
}  // namespace canvaslab
