// settled - stop when a step changes nothing.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// Nothing becomes noise, and every token that is taken was there already. For samplers that edit: the end of their edits.
/// With a temperature a later draw could still edit; the step limit bounds oscillations.
class Settled final : public StopRule {
 public:
  explicit Settled(const Options&) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory&) const override {
    for (size_t p = 0; p < decision.action.size(); ++p) {
      if (!view.is_allowed(p)) continue;
      const int32_t token = view.canvas[p];
      switch (decision.action[p]) {
        case Action::kKeep: break;
        case Action::kNoise: return std::nullopt;
        case Action::kCandidate: if (view.statistics->candidate[p] != token) return std::nullopt; break;
        case Action::kArgmax: if (view.statistics->argmax[p] != token) return std::nullopt; break;
        case Action::kToken: if (decision.token[p] != token) return std::nullopt; break;
      }
    }
    return "settled";
  }
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "settled",
    .summary = "stop when a step changes nothing: no noise, and no token that was not there already",
    .source = "SGLang joint_threshold; samplers.md 6.7",
    .aliases = {"unchanged"},
    .parameters = {},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Settled>(options); }});

}  // namespace
}  // namespace canvaslab
