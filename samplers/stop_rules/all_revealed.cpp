// all_revealed - stop when the sampler holds every position for final.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class AllRevealed final : public StopRule {
 public:
  explicit AllRevealed(const Options&) {}
  std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision&, const StopHistory&) const override {
    for (size_t p = 0; p < state.revealed.size(); ++p)
      if (!state.revealed[p] && view.is_allowed(p)) return std::nullopt;
    return "all_revealed";
  }
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "all_revealed",
    .summary = "stop when the sampler holds every position for final",
    .source = "samplers.md 6.7",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {}, .breaks_level = false},
    .make = [](const Options& options) { return std::make_unique<AllRevealed>(options); }});

}  // namespace
}  // namespace canvaslab
