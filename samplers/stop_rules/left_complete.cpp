// left_complete - stop when an end token is final and nothing before it is open.
#include "core/token_ids.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// For samplers that lock: walking from the left over revealed and pinned positions, an end token is met before an open
/// position. What lies behind is cut from the text anyway; with --emit canvas the noise there goes with it.
/// Source: diffusers block refinement check_eos_finished, dllm eos_early_stop; samplers.md 6.8. (dInfer's early_stop
/// instead fills the rest with end tokens.)
class LeftComplete final : public StopRule {
 public:
  explicit LeftComplete(const Options& options) : ends_(token_ids(options, "end_ids")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision& decision, const StopHistory&) const override {
    for (size_t p = 0; p < view.length() && p < state.revealed.size(); ++p) {
      const bool pinned = !view.is_allowed(p);
      if (!pinned && !state.revealed[p]) return std::nullopt;
      if (contains(ends_, token_after(view, decision, p))) return "left_complete";
    }
    return std::nullopt;
  }

 private:
  static int32_t token_after(const StepView& view, const StepDecision& decision, size_t p) {
    const Action action = view.is_allowed(p) && p < decision.action.size() ? decision.action[p] : Action::kKeep;
    switch (action) {
      case Action::kCandidate: return view.statistics->candidate[p];
      case Action::kArgmax: return view.statistics->argmax[p];
      case Action::kToken: return decision.token[p];
      default: return view.canvas[p];
    }
  }
  std::vector<int32_t> ends_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "left_complete",
    .summary = "stop when an end token is final and nothing before it is open",
    .source = "diffusers block refinement check_eos_finished; ZHZisZZ/dllm",
    .aliases = {"eos_early_stop"},
    .parameters = {token_ids_param("end_ids", "end tokens")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<LeftComplete>(options); }});

}  // namespace
}  // namespace canvaslab
