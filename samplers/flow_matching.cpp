// flow_matching - discrete flow matching: jump to the candidate, jump to noise, or stay.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// With levels a (fed in) and b (next): to the candidate with probability up = (1 + c)(b - a)/(1 - a), to noise with
/// down = c (b - a)/a, else the token stays; both are scaled down where they sum to more than 1. At a = 0 there is nothing to
/// repair and c counts as 0: dropping only the down term there would overshoot the level.
/// c = 0 is the maximal coupling: the fewest changes per step, up = 1/(N - i). Preserves the path's marginals when
/// candidates come from the exact posterior at temperature 1, for any noise law, while nothing is scaled down. The last
/// step takes every candidate (with c > 0 the plain rule would leave about c/((N - 1)(1 + c)) of the positions as noise).
/// Source: arXiv:2407.15595; google/hackable_diffusion DiscreteFlowMatching; samplers.md 3.6.
class FlowMatching final : public LevelSampler {
 public:
  using LevelSampler::LevelSampler;
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    decision.action.assign(view.length(), Action::kCandidate);
    if (view.is_last) return;
    const double a = view.level_now, b = view.level_next, c = a > 0 ? view.knobs[0] : 0.0;
    Routes routes{.clean = (1 + c) * (b - a) / (1 - a), .stay = 0, .noise = a > 0 ? c * (b - a) / a : 0};
    routes.stay = std::max(0.0, 1 - routes.clean - routes.noise);
    for (size_t p = 0; p < view.length(); ++p) decision.action[p] = route(routes, view.uniform(Purpose::kRoute, p));
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "flow_matching",
    .summary = "discrete flow matching: jump to the candidate, jump to noise, or stay; exactly num_steps steps",
    .source = "arXiv:2407.15595; google/hackable_diffusion DiscreteFlowMatching",
    .aliases = {"dfm", "discrete_flow_matching"},
    .parameters = {schedule_param("corrector", 0, 0, 1000, "", "c: 0 makes the fewest changes; larger re-corrupts and repairs more"), path_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .product_law = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<FlowMatching>(options); }});

}  // namespace
}  // namespace canvaslab
