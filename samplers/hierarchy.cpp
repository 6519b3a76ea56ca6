// hierarchy - reveal the surest position of every gap, so that neighbours are not decided at the same step.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// In each maximal run of open positions the most confident one is revealed if p(candidate) > low_threshold, and so is any
/// position > threshold, and the single surest of all. Every comparison is strict; ties to the lower position (the
/// authors' code takes all of a run's ties). So at most one position per run is revealed below threshold, and gaps halve.
/// At least one position a step; the last step reveals all. The authors' variant that reopens tokens below
/// 0.4 is token_reset(hierarchy, threshold=0.4).
/// Source: inclusionAI/dInfer HierarchyDecoder (its low_threshold 0.4, no threshold); SGLang hierarchy_block; samplers.md 4.15.
class Hierarchy final : public Sampler {
 public:
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto high = static_cast<float>(std::log(view.knobs[0])), low = static_cast<float>(std::log(view.knobs[1]));
    const auto open = open_positions(view, state);
    renoise_open(view, state, decision);
    size_t surest = open.size();
    for (size_t first = 0; first < open.size();) {
      if (!open[first]) {
        ++first;
        continue;
      }
      size_t end = first, best = first;
      for (; end < open.size() && open[end]; ++end) {
        if (log_prob[end] > log_prob[best]) best = end;
        if (view.is_last || log_prob[end] > high) take(end, Mode::kLocked, state, decision);
      }
      if (log_prob[best] > low) take(best, Mode::kLocked, state, decision);
      if (surest == open.size() || log_prob[best] > log_prob[surest]) surest = best;
      first = end;
    }
    if (surest < open.size()) take(surest, Mode::kLocked, state, decision);
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "hierarchy",
    .summary = "reveal the surest position of every gap, so that neighbours are not decided at the same step",
    .source = "inclusionAI/dInfer HierarchyDecoder, uniform-state form",
    .aliases = {"hierarchy_block"},
    .parameters = {schedule_param("threshold", 0.9, 0, 1, "probability", "positions strictly above are always revealed"),
                   schedule_param("low_threshold", 0.4, 0, 1, "probability", "the surest of a run is revealed strictly above this")},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .permutation_equivariant = false, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<Hierarchy>(); }});

}  // namespace
}  // namespace canvaslab
