// confidence_threshold - reveal every position whose candidate is likely enough, for good; the others get fresh noise.
#include <cmath>

#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Reveals p when p(candidate) >= threshold; when none qualifies, the single most confident one (ties: lowest position);
/// the last step reveals all. Compared as log-probabilities in f32, so that a candidate exactly at the threshold passes.
/// Source: Blaizzy/mlx-vlm diffusion generation (samplers.md 3.2).
class ConfidenceThreshold final : public Sampler {
 public:
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto threshold = static_cast<float>(std::log(view.knobs[0]));
    const auto open = open_positions(view, state);
    decision.action.assign(view.length(), Action::kKeep);
    bool any = false;
    for (size_t p = 0; p < open.size(); ++p) {
      if (!open[p]) continue;
      const bool take = view.is_last || log_prob[p] >= threshold;
      decision.action[p] = take ? Action::kCandidate : Action::kNoise;
      state.revealed[p] = take;
      any = any || take;
    }
    const auto order = any ? std::vector<uint32_t>{} : order_by_falling(log_prob, open);
    if (!order.empty()) {
      decision.action[order[0]] = Action::kCandidate;
      state.revealed[order[0]] = 1;
    }
  }
};

std::vector<ParamSpec> parameters() {
  ParamSpec threshold = schedule_param("threshold", 0.9, 0, 1, "probability", "candidates at least this likely are revealed");
  threshold.above_min = true;
  return {threshold};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "confidence_threshold",
    .summary = "reveal positions whose candidate is likely enough, for good; renoise the rest",
    .source = "Blaizzy/mlx-vlm mlx_vlm/generate/diffusion.py",
    .aliases = {},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<ConfidenceThreshold>(); }});

}  // namespace
}  // namespace canvaslab
