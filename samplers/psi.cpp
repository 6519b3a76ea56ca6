// psi - a mixture of the reverse kernel and "predict, then corrupt": a predictor-corrector without extra forwards.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Per position: with probability kappa ddim's posterior, else the candidate with probability level_next and noise
/// otherwise. kappa = 1 is ddim, draw for draw; kappa = 0 forgets the token fed in. Preserves the path's marginals for
/// every kappa in [0, 1] when candidates come from the exact posterior at the known level and temperature 1;
/// self-conditioning voids that. The last step takes every candidate. Remask rates as kappa: sampler remdm.
/// Source: arXiv:2602.21185 (Psi-samplers, s-sahoo/duo); samplers.md 3.8. The default kappa is ours.
class Psi final : public LevelSampler {
 public:
  using LevelSampler::LevelSampler;
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    decision.action.resize(view.length());
    for (size_t p = 0; p < view.length(); ++p) decision.action[p] = psi_action(view, p, view.knobs[0]);
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "psi",
    .summary = "mixture of ddim's reverse kernel and predict-then-corrupt: repairs without extra forwards",
    .source = "arXiv:2602.21185 (Psi-samplers); s-sahoo/duo",
    .aliases = {"psi_sampler"},
    .parameters = {schedule_param("kappa", 0.95, 0, 1, "probability", "of the reverse kernel; 1 is ddim, 0 corrupts anew at every step"), path_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .product_law = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Psi>(options); }});

}  // namespace
}  // namespace canvaslab
