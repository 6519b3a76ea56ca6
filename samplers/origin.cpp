// origin - reveal every open position with the same probability 1 / (steps left): random order, random counts.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// The ancestral sampler of a masked chain on the linear path, with a shadow mask: whatever the denoiser says, an open
/// position is revealed with probability 1 / (N - i), so that its reveal step is uniform over the N steps. Exactly N steps;
/// the last reveals all. Dream's time grid ends at 0.001 instead of 0, which only shows in the last steps.
/// Source: HKUNLP/Dream `origin`; samplers.md 4.2.
class Origin final : public Sampler {
 public:
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    renoise_open(view, state, decision);
    const double probability = 1.0 / (view.num_steps - view.step_idx);
    for (size_t p = 0; p < view.length(); ++p)
      if (decision.action[p] == Action::kNoise && (view.is_last || view.uniform(Purpose::kRoute, p) < probability)) take(p, Mode::kLocked, state, decision);
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "origin",
    .summary = "reveal every open position with the same probability 1 / (steps left): random order and counts",
    .source = "HKUNLP/Dream origin, uniform-state form",
    .aliases = {"ancestral_mask"},
    .parameters = {},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<Origin>(); }});

}  // namespace
}  // namespace canvaslab
