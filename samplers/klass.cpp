// klass - reveal positions whose distribution has stopped moving and whose candidate is likely enough.
#include <cmath>

#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Reveals p when KL(this step || step before) < kl_threshold at each of the last `history` steps and p(candidate) >
/// threshold; when none qualifies, an even quota of the most confident, at least one; the last step reveals all. The first
/// `history` steps cannot qualify. The divergence is taken at temperature 1 without filters (the reference takes it on
/// noised logits, and an annealed temperature alone would move it); the confidence is that of the step's temperature.
/// Uniform-state form: open positions get fresh noise, so divergences are larger than on masks and the published
/// thresholds are only a start. Source: arXiv:2511.05664 (samplers.md 4.7).
class Klass final : public Sampler {
 public:
  explicit Klass(const Options& options) : history_(options.integer("history")) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(length, 0);  // steps in a row with a small divergence
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    const auto confident = static_cast<float>(std::log(view.knobs[0])), quiet = static_cast<float>(view.knobs[1]);  // f32, as what they bound
    const auto open = open_positions(view, state);
    decision.action.assign(view.length(), Action::kKeep);
    const size_t done = state.num_revealed();
    bool any = false;
    for (size_t p = 0; p < view.length(); ++p) {
      state.scratch[p] = s.kl_nats[p] < quiet ? state.scratch[p] + 1 : 0;
      if (!open[p]) continue;
      const bool take = view.is_last || (state.scratch[p] >= static_cast<double>(history_) && s.candidate_logprob[p] > confident);
      decision.action[p] = take ? Action::kCandidate : Action::kNoise;
      state.revealed[p] = take;
      any = any || take;
    }
    if (any) return;
    const size_t target = std::max(done + 1, even_quota_target(num_allowed(view), view.step_idx, view.num_steps));
    const auto order = order_by_falling(s.candidate_logprob, open);
    for (size_t i = 0; i < order.size() && done + i < target; ++i) {
      decision.action[order[i]] = Action::kCandidate;
      state.revealed[order[i]] = 1;
    }
  }

 private:
  int64_t history_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "klass",
    .summary = "reveal positions whose distribution has stopped moving and whose candidate is likely; else an even quota",
    .source = "arXiv:2511.05664, uniform-state form",
    .aliases = {},
    .parameters = {schedule_param("threshold", 0.6, 0, 1, "probability", "candidates more likely than this may be revealed"),
                   schedule_param("kl_threshold", 0.015, 0, std::numeric_limits<double>::infinity(), "nats", "a step that moves the distribution less counts as quiet"),
                   int_param("history", 2, 1, 1000, "steps", "quiet steps in a row that are needed")},
    .facts = {.statistics = {Statistic::kCandidate, Statistic::kDivergence}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Klass>(options); }});

}  // namespace
}  // namespace canvaslab
