// ddim_integrated - the reverse kernel of uniform corruption with the clean token integrated out, not sampled.
#include <cmath>

#include "samplers/leave_one_out.h"
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// With loo the law of a position's clean token given all others (samplers.md 1), r = at / as and pi = 1 / V, token u comes next
/// in proportion to
///   (as - at) loo(u) + (1 - r)(1 - as) pi + [u = x] (V at loo(x) + r - at),
/// which one uniform splits into keeping x, noise, and a token other than x drawn from the denoiser. At temperature 1 the
/// law of a step is ddim's, with fewer draws; the marginals of the path are preserved for exact candidates at the known
/// level. At other temperatures ddim sharpens p, which has seen x; here loo is sharpened, so that x is not favoured for
/// standing there. At temperature 0 statistics are those at 1, and the other token is the best one. The last step takes the
/// clean token as of loo. Source: google/hackable_diffusion IntegratedDiscreteDDIM; temperature on loo: arXiv:2605.22765
/// (samplers.md 3.5).
class DdimIntegrated final : public LevelSampler {
 public:
  using LevelSampler::LevelSampler;
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    const double now = view.level_now, next = view.is_last ? 1 : view.level_next, r = now / next, V = view.vocabulary;
    const double temperature = view.temperature == 0 ? 1.0 : static_cast<double>(view.temperature);
    const double log_sight = std::log(observation_ratio(now, view.vocabulary)) / temperature;  // what having seen x adds to its log-odds
    decision.action.assign(view.length(), Action::kKeep);
    decision.token.assign(view.statistics->alternative.begin(), view.statistics->alternative.end());
    for (size_t p = 0; p < view.length(); ++p) {
      const double log_p = view.statistics->current_logprob[p];
      const double seen = log_p >= 0 ? 1 : 1 / (1 + std::exp(log_sight + std::log(-std::expm1(log_p)) - log_p));  // loo(x)
      const double stay = (next - now) * seen + V * now * seen + r - now, noise = (1 - r) * (1 - next), other = (next - now) * (1 - seen);
      const double at = view.uniform(Purpose::kRoute, p) * (stay + noise + other);
      if (at >= stay) decision.action[p] = at < stay + noise ? Action::kNoise : Action::kToken;
    }
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "ddim_integrated",
    .summary = "ddim with the clean token integrated out: temperature sharpens what the other positions say; exactly num_steps steps",
    .source = "google/hackable_diffusion IntegratedDiscreteDDIM; arXiv:2605.22765",
    .aliases = {"integrated_ddim"},
    .parameters = {path_param()},
    .facts = {.statistics = {Statistic::kCurrent, Statistic::kAlternative}, .needs_level = true, .revocable = true, .fixed_steps = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<DdimIntegrated>(options); }});

}  // namespace
}  // namespace canvaslab
