// fixed_step - reveal the most confident positions by an even quota: exactly num_steps steps.
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Quota per step as LLaDA: floor(L / N), the first L mod N steps one more. Uniform-state form: revealed positions keep
/// their token, the others get fresh noise. With N > L the quota is 0 on late steps, when all are revealed; the steps are
/// executed all the same. Confidence is that of the candidate at the step's temperature (LLaDA ranks at temperature 1;
/// the two orders differ only when T != 1). Source: arXiv:2502.09992 low-confidence remasking (samplers.md 4.1).
class FixedStep final : public Sampler {
 public:
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    auto open = open_positions(view, state);
    decision.action.assign(view.length(), Action::kKeep);
    for (size_t p = 0; p < open.size(); ++p)
      if (open[p]) decision.action[p] = Action::kNoise;
    const size_t target = even_quota_target(num_allowed(view), view.step_idx, view.num_steps), done = state.num_revealed();
    const auto order = order_by_falling(view.statistics->candidate_logprob, open);
    for (size_t i = 0; i < order.size() && done + i < target; ++i) {
      decision.action[order[i]] = Action::kCandidate;
      state.revealed[order[i]] = 1;
    }
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "fixed_step",
    .summary = "reveal the most confident positions by an even quota: exactly num_steps steps",
    .source = "arXiv:2502.09992 (LLaDA low-confidence remasking), uniform-state form",
    .aliases = {"quota_confidence"},
    .parameters = {},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<FixedStep>(); }});

}  // namespace
}  // namespace canvaslab
