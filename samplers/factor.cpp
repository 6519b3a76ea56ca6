// factor - take the n most confident positions while (n + 1) (1 - c_n) stays below a factor.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// With confidences sorted falling, takes the largest n with (n + 1)(1 - c_n) < factor, at least one. If each of n tokens
/// has c > 1 - e and (n + 1) e <= 1, the product of the marginals and the joint have the same most likely value, hence
/// factor 1. The left side never falls with n, so the largest n is the last one before the first failure. Larger factors
/// take more; the taken sets are nested. Source: arXiv:2505.22618 (Fast-dLLM); samplers.md 4.4.
class Factor final : public RankedSampler {
 public:
  using RankedSampler::RankedSampler;

 protected:
  std::vector<float> keys(const StepView& view) const override { return view.statistics->candidate_logprob; }
  size_t count(const StepView& view, const CanvasState&, std::span<const uint32_t> order) const override {
    size_t n = 1;
    for (; n < order.size(); ++n) {
      const double doubt = -std::expm1(static_cast<double>(view.statistics->candidate_logprob[order[n]]));
      if (static_cast<double>(n + 2) * doubt >= view.knobs[0]) break;
    }
    return n;
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "factor",
    .summary = "take the n most confident positions while (n + 1)(1 - confidence of the n-th) stays below a factor",
    .source = "arXiv:2505.22618 (Fast-dLLM factor), uniform-state form",
    .aliases = {"fast_dllm_factor"},
    .parameters = {schedule_param("factor", 1, 0, 1000, "", "larger takes more per step; 1 is the theorem's bound"), mode_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Factor>(mode_of(options)); }});

}  // namespace
}  // namespace canvaslab
