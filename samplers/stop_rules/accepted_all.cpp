// accepted_all - stop when a step takes a token at every position.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The fixed point of entropy_bound: everything fits under the bound, nothing is renoised. Source: samplers.md 6.10.
class AcceptedAll final : public StopRule {
 public:
  explicit AcceptedAll(const Options&) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory&) const override {
    for (size_t p = 0; p < view.length(); ++p) {
      if (!view.is_allowed(p)) continue;
      if (p >= decision.action.size() || decision.action[p] == Action::kNoise || decision.action[p] == Action::kKeep) return std::nullopt;
    }
    return "accepted_all";
  }
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "accepted_all",
    .summary = "stop when a step takes a token at every position",
    .source = "ours; samplers.md 6.10",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<AcceptedAll>(options); }});

}  // namespace
}  // namespace canvaslab
