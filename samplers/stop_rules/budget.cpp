// budget - stop when a sequence has spent its forwards, or the positions they ran over.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// Spent: the sum over kinds of weight * (forwards | positions of them) since the prompt was read, this step's forward
/// included; prefill is not counted. Stops at `limit` or above. What is left of the text once the budget is spent is
/// written with one step a canvas: a budget ends thinking, not the text. Forwards that follow a step (correctors, the check
/// of a finished canvas, its append) count at the next step.
class Budget final : public StopRule {
 public:
  explicit Budget(const Options& options)
      : limit_(options.real("limit")), positions_(options.text("of") == "positions"), denoise_(options.real("denoise")), verify_(options.real("verify")),
        unconditional_(options.real("unconditional")), append_(options.real("append")) {}
  std::optional<std::string> check(const StepView&, const CanvasState&, const StepDecision&, const StopHistory& history) const override {
    const ForwardCounts& n = positions_ ? history.positions : history.forwards;
    const double spent = denoise_ * static_cast<double>(n.denoise) + verify_ * static_cast<double>(n.verify) + unconditional_ * static_cast<double>(n.unconditional) +
                         append_ * static_cast<double>(n.append);
    if (spent >= limit_) return "budget";
    return std::nullopt;
  }

 private:
  double limit_;
  bool positions_;
  double denoise_, verify_, unconditional_, append_;
};

ParamSpec weight(const char* kind) { return real_param(kind, 1, 0, 1e6, "", "cost of a forward of this kind, or of a position of one"); }

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "budget",
    .summary = "stop when the sequence has spent its budget of forwards, positions or weighted cost",
    .source = "ours; samplers.md 6.10",
    .aliases = {"forward_budget"},
    .parameters = {real_param("limit", 48, 0, 1e15, "", "what a sequence may spend, all its canvases together"),
                   text_param("of", "forwards", "forwards: each counts by its kind's weight; positions: so does each position that it runs over", {"forwards", "positions"}),
                   weight("denoise"), weight("verify"), weight("unconditional"), weight("append")},
    .facts = {.statistics = {}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Budget>(options); }});

}  // namespace
}  // namespace canvaslab
