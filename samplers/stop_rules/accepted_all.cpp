// accepted_all - stop when a step, or several in a row, takes a token at every position.
#include <algorithm>

#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The fixed point of entropy_bound: everything fits under the bound, nothing is renoised. Source: samplers.md 6.10.
class AcceptedAll final : public StopRule {
 public:
  explicit AcceptedAll(const Options& options) : steps_(static_cast<size_t>(options.integer("steps"))) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory& history) const override {
    if (history.num_taken.size() + 1 < steps_) return std::nullopt;
    const auto before = std::span(history.num_taken).last(steps_ - 1);
    if (std::any_of(before.begin(), before.end(), [all = num_allowed(view)](size_t taken) { return taken != all; })) return std::nullopt;
    for (size_t p = 0; p < view.length(); ++p) {
      if (!view.is_allowed(p)) continue;
      if (p >= decision.action.size() || decision.action[p] == Action::kNoise || decision.action[p] == Action::kKeep) return std::nullopt;
    }
    return "accepted_all";
  }

 private:
  size_t steps_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "accepted_all",
    .summary = "stop when a step, or several in a row, takes a token at every position",
    .source = "ours; samplers.md 6.10",
    .aliases = {},
    .parameters = {added_late(int_param("steps", 1, 1, 1000, "steps", "in a row that must take all, this one included"))},
    .facts = {.statistics = {}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<AcceptedAll>(options); }});

}  // namespace
}  // namespace canvaslab
