// ddim - the exact reverse kernel of uniform corruption, with a sampled clean token (discrete DDIM / D3PM posterior).
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Routes each position: clean (take the candidate), stay, or noise, with weights
///   clean = as (1-r)/V + r as [x = y],  stay = r (1-as)/V,  noise = (1-r)(1-as)/V,  r = at/as,
/// which is q(x_s | x_t, x0 = y) of the linear path. Preserves the path's marginals when candidates come from the exact
/// posterior at the known level and temperature 1. Pinned positions are decided like any other; the engine keeps them.
/// Source: arXiv:2107.03006; diffusers DiscreteDDIM (samplers.md 3.4).
class Ddim final : public LevelSampler {
 public:
  using LevelSampler::LevelSampler;
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    decision.action.assign(view.length(), Action::kCandidate);
    if (view.is_last) return;
    for (size_t p = 0; p < view.length(); ++p) {
      const bool agree = view.statistics->candidate[p] == view.canvas[p];
      decision.action[p] = route(posterior_routes(view.level_now, view.level_next, agree, view.vocabulary), view.uniform(Purpose::kRoute, p));
    }
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "ddim",
    .summary = "discrete DDIM: the reverse kernel of uniform corruption with a sampled clean token; exactly num_steps steps",
    .source = "arXiv:2107.03006; diffusers scheduling_discrete_ddim",
    .aliases = {"discrete_ddim"},
    .parameters = {path_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .product_law = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Ddim>(options); }});

}  // namespace
}  // namespace canvaslab
