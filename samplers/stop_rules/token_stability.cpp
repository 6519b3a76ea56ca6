// token_stability - stop when the argmax canvas equals the canvas that was fed in.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class TokenStability final : public StopRule {
 public:
  explicit TokenStability(const Options&) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    if (argmax_equals(view, view.canvas)) return "token_stability";
    return std::nullopt;
  }
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "token_stability",
    .summary = "stop when the argmax canvas equals the canvas that was fed in",
    .source = "google-deepmind/gemma TokenStability",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {Statistic::kMax}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<TokenStability>(options); }});

}  // namespace
}  // namespace canvaslab
