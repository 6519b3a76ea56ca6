// patience - stop when the canvas has not agreed better with the model for a while, or nothing changes any more.
#include <algorithm>

#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// Agreement of a step: positions that hold its argmax once it is decided. Stops when `steps` + 1 steps in a row, this one
/// included, did not beat the best before them, or when the step changes no token. The authors drop the edit of the step that
/// exhausts the patience; here it is applied. Pinned positions do not count.
/// Source: self-correction script of GIDD (arXiv:2503.04482, dvruette/gidd), read in copies of it; limits there 32 of 128.
class Patience final : public StopRule {
 public:
  explicit Patience(const Options& options) : steps_(static_cast<size_t>(options.integer("steps"))) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory& history) const override {
    if (changes_nothing(view, decision)) return "patience";
    size_t best = 0, waited = 0;
    const auto look = [&](size_t agreement) {
      waited = agreement > best ? 0 : waited + 1;
      best = std::max(best, agreement);
    };
    for (const size_t agreement : history.num_at_argmax) look(agreement);
    look(num_at_argmax(view, decision));
    if (waited > steps_) return "patience";
    return std::nullopt;
  }

 private:
  static bool changes_nothing(const StepView& view, const StepDecision& decision) {
    for (size_t p = 0; p < decision.action.size(); ++p) {
      if (!view.is_allowed(p)) continue;
      switch (decision.action[p]) {
        case Action::kKeep: break;
        case Action::kCandidate: if (view.statistics->candidate[p] != view.canvas[p]) return false; break;
        case Action::kArgmax: if (view.statistics->argmax[p] != view.canvas[p]) return false; break;
        case Action::kToken: if (decision.token[p] != view.canvas[p]) return false; break;
        case Action::kNoise: return false;
      }
    }
    return true;
  }
  size_t steps_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "patience",
    .summary = "stop when no step has brought more positions to their argmax for a while, or nothing changes any more",
    .source = "GIDD self-correction (dvruette/gidd, arXiv:2503.04482)",
    .aliases = {"gidd_patience"},
    .parameters = {int_param("steps", 32, 0, 1000000, "steps", "without a new best that are still borne")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Patience>(options); }});

}  // namespace
}  // namespace canvaslab
