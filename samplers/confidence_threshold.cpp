// confidence_threshold - reveal every position whose candidate is likely enough, for good; the others get fresh noise.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Takes p when p(candidate) >= threshold; when none qualifies, the single most confident one (ties: lowest position);
/// locked, the last step takes all. Compared as log-probabilities in f32, so that a candidate exactly at the threshold
/// passes. Source: Blaizzy/mlx-vlm diffusion generation (samplers.md 3.2); Fast-dLLM compares with a strict >.
/// mode=memoryless (ours, samplers.md 4.3) lets all positions compete anew: one port saw locked rows cause defects.
class ConfidenceThreshold final : public RankedSampler {
 public:
  using RankedSampler::RankedSampler;

 protected:
  std::vector<float> keys(const StepView& view) const override { return view.statistics->candidate_logprob; }
  size_t count(const StepView& view, const CanvasState&, std::span<const uint32_t> order) const override {
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto threshold = static_cast<float>(std::log(view.knobs[0]));
    size_t n = 1;
    while (n < order.size() && log_prob[order[n]] >= threshold) ++n;
    return n;
  }
};

std::vector<ParamSpec> parameters() {
  ParamSpec threshold = schedule_param("threshold", 0.9, 0, 1, "probability", "candidates at least this likely are revealed");
  threshold.above_min = true;
  return {threshold, mode_param()};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "confidence_threshold",
    .summary = "reveal positions whose candidate is likely enough, for good; renoise the rest",
    .source = "Blaizzy/mlx-vlm mlx_vlm/generate/diffusion.py",
    .aliases = {},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<ConfidenceThreshold>(mode_of(options)); }});

}  // namespace
}  // namespace canvaslab
