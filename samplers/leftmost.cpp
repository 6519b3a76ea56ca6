// leftmost - reveal the first open positions, an even quota a step: autoregressive order, as a baseline.
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Source: vLLM's nemotron_dllm `leftmost` policy (samplers.md 4.17); quota as fixed_step, so N = L is one by one.
class Leftmost final : public Sampler {
 public:
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto open = open_positions(view, state);
    decision.action.assign(view.length(), Action::kKeep);
    const size_t target = even_quota_target(num_allowed(view), view.step_idx, view.num_steps);
    size_t done = state.num_revealed();
    for (size_t p = 0; p < open.size(); ++p) {
      if (!open[p]) continue;
      decision.action[p] = done < target ? Action::kCandidate : Action::kNoise;
      if (done < target) state.revealed[p] = 1, ++done;
    }
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "leftmost",
    .summary = "reveal the first open positions, an even quota a step: autoregressive order as a baseline",
    .source = "vLLM nemotron_dllm leftmost policy",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .permutation_equivariant = false, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<Leftmost>(); }});

}  // namespace
}  // namespace canvaslab
