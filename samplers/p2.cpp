// p2 - path planning: at every step the least likely tokens of the whole canvas are renoised, by a schedule.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// After step i of N exactly floor(free (1 - u^exponent)) of the free positions are noise, u = (i + 1)/N. A position that
/// was planned in at the step before is scored by eta * ln p(its token) and stays if it is planned in again; the others
/// are scored by ln p(candidate) and take it. eta above 1 renoises planned positions sooner, eta = 0 never before a
/// fresh one. Here a token sees itself, unlike under a mask, so eta needs tuning anew. Exactly N steps, the last keeps
/// all. The number of clean positions is fixed by the schedule, their identity is not: entropy_bound with a count.
/// Source: arXiv:2502.03540 (P2, self-planner); samplers.md 4.10.
class P2 final : public Sampler {
 public:
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(length, 0);  // 1: planned in at the step before
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    const double eta = view.knobs[0], u = static_cast<double>(view.step_idx + 1) / view.num_steps;
    std::vector<float> key(view.length());
    for (size_t p = 0; p < key.size(); ++p)
      key[p] = state.scratch[p] == 0 ? s.candidate_logprob[p] : eta == 0 ? 0.0f : static_cast<float>(eta * s.current_logprob[p]);
    const auto order = order_by_falling(key, view.allowed);
    const double share = view.is_last ? 0 : 1 - std::pow(u, view.knobs[1]);
    const size_t noisy = static_cast<size_t>(static_cast<double>(order.size()) * share + 1e-9);  // 3 * (1 - 2/3) is 1
    decision.action.assign(view.length(), Action::kKeep);
    for (size_t i = 0; i < order.size(); ++i) {
      const uint32_t p = order[i];
      const bool in = i + noisy < order.size();
      if (!in) decision.action[p] = Action::kNoise;
      else if (state.scratch[p] == 0) decision.action[p] = Action::kCandidate;
      state.scratch[p] = in;
    }
  }
};

std::vector<ParamSpec> parameters() {
  ParamSpec exponent = schedule_param("exponent", 1, 0, 100, "", "of the planned share u^exponent; above 1 plans few positions in at first");
  exponent.above_min = true;
  return {schedule_param("eta", 1, 0, 1000, "", "weight of ln p for positions that were planned in; above 1 renoises them sooner"), exponent};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "p2",
    .summary = "path planning: a scheduled number of the least likely tokens is renoised at every step",
    .source = "arXiv:2502.03540 (P2 self-planner), uniform-state form",
    .aliases = {"path_planning"},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kCandidate, Statistic::kCurrent}, .revocable = true, .fixed_steps = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<P2>(); }});

}  // namespace
}  // namespace canvaslab
