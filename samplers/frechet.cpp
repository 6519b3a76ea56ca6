// frechet - take the n most confident positions while the Frechet bound on their joint probability beats the alternative.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// With confidences c sorted falling, Lo_n = c_1 + ... + c_n - (n - 1) bounds the joint probability of the n tokens from
/// below and Up_n = 1 - c_n that of any other choice from above; takes the largest n with Lo_n - Up_n > delta, at least
/// one. Equal confidences give factor(1 - delta); uneven ones take more. Larger deltas take less; the sets are nested.
/// Source: arXiv:2606.02955, Ringo-Star/FastdLLM_plusplus; samplers.md 4.5.
class Frechet final : public RankedSampler {
 public:
  using RankedSampler::RankedSampler;

 protected:
  std::vector<float> keys(const StepView& view) const override { return view.statistics->candidate_logprob; }
  size_t count(const StepView& view, const CanvasState&, std::span<const uint32_t> order) const override {
    double doubts = 0;  // sum of 1 - c: Lo_n = 1 - doubts
    size_t n = 0;
    for (; n < order.size(); ++n) {
      const double doubt = -std::expm1(static_cast<double>(view.statistics->candidate_logprob[order[n]]));
      doubts += doubt;
      if (n > 0 && 1 - doubts - doubt <= view.knobs[0]) break;
    }
    return n;
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "frechet",
    .summary = "take the most confident positions while the Frechet bound on their joint probability beats any alternative",
    .source = "arXiv:2606.02955 (Fast-dLLM++), uniform-state form",
    .aliases = {"fast_dllm_plus"},
    .parameters = {schedule_param("delta", 0.25, 0, 1, "probability", "margin by which the bound must win; larger takes less"), mode_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Frechet>(mode_of(options)); }});

}  // namespace
}  // namespace canvaslab
