// block_refinement - reveal by a rising quota, everything sure enough beside it, and edit what was revealed.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Uniform form. By step i of N at least ceil((i + 1) L / N) positions are revealed: the most confident open ones fill what
/// is missing, and any with p(candidate) > threshold come on top. A revealed position takes a different candidate when its
/// p > editing_threshold; 1 never edits, so that revealed tokens stay. Open positions get fresh noise; the last step
/// reveals all. Both comparisons are strict, as log-probabilities in f32; ties to the lower position.
/// Source: diffusers scheduling_block_refinement (uniform mode), LLaDA2.x; samplers.md 3.3.
class BlockRefinement final : public Sampler {
 public:
  explicit BlockRefinement(double editing_threshold) : editing_(static_cast<float>(std::log(editing_threshold))), edits_(editing_threshold < 1) {}
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.revocable = edits_;
    declared.default_stop = edits_ ? "settled" : "all_revealed";
    return declared;
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto threshold = static_cast<float>(std::log(view.knobs[0]));
    const auto order = order_by_falling(log_prob, open_positions(view, state));
    renoise_open(view, state, decision);
    for (size_t p = 0; edits_ && p < view.length(); ++p) {
      const bool differs = view.statistics->candidate[p] != view.canvas[p];
      if (state.revealed[p] && differs && log_prob[p] > editing_) decision.action[p] = Action::kCandidate;
    }
    const size_t target = count_target(CountBudget::kCumulative, num_allowed(view), view.step_idx, view.num_steps), done = state.num_revealed();
    for (size_t i = 0; i < order.size(); ++i) {
      const bool due = done + i < target;  // at the last step: everything
      if (due || log_prob[order[i]] > threshold) take(order[i], Mode::kLocked, state, decision);
    }
  }

 private:
  float editing_;
  bool edits_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "block_refinement",
    .summary = "reveal by a rising quota, everything sure enough beside it, and edit what was revealed",
    .source = "diffusers scheduling_block_refinement (uniform mode); LLaDA2.x, arXiv:2602.08676",
    .aliases = {},
    .parameters = {schedule_param("threshold", 0.95, 0, 1, "probability", "open positions strictly above are revealed beyond the quota"),
                   real_param("editing_threshold", 1, 0, 1, "probability", "revealed positions strictly above take a different candidate; 1: none")},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<BlockRefinement>(options.real("editing_threshold")); }});

}  // namespace
}  // namespace canvaslab
