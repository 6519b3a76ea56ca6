// confidence_step - put the argmax where it gains the most over the token that is there, a fixed number a step.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// The ceil(free / N) positions with the largest p(argmax) - p(token on the canvas) take the argmax; all others keep what
/// they have. Nothing is ever renoised, so every position starts from its own noise token and can be revised at any step;
/// positions that already hold their argmax are taken last and do not change. Deterministic given the start canvas.
/// Source: arXiv:2605.22765 confidence step; Sumi-7B `adaptive`; samplers.md 3.9 (cousin), newer.md 7.
class ConfidenceStep final : public Sampler {
 public:
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    std::vector<float> gain(view.length());
    for (size_t p = 0; p < gain.size(); ++p) gain[p] = std::exp(s.argmax_logprob[p]) - std::exp(s.current_logprob[p]);
    decision.action.assign(view.length(), Action::kKeep);
    const auto order = order_by_falling(gain, view.allowed);
    const size_t steps = static_cast<size_t>(view.num_steps), count = (order.size() + steps - 1) / steps;
    for (size_t i = 0; i < count; ++i) decision.action[order[i]] = Action::kArgmax;
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "confidence_step",
    .summary = "put the argmax where it gains the most over the token that is there, ceil(L / steps) positions a step",
    .source = "arXiv:2605.22765; Sumi-7B adaptive",
    .aliases = {"sumi_adaptive"},
    .parameters = {},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCurrent}, .revocable = true, .edits_only = true, .fixed_steps = true, .product_law = true, .min_accepted = 1, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<ConfidenceStep>(); }});

}  // namespace
}  // namespace canvaslab
