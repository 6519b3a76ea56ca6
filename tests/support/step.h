#pragma once
// Steps for tests: random ones (samplers/contract.h), and ones written down.
#include <cmath>
#include <random>

#include "samplers/contract.h"

namespace canvaslab::testing_support {

using contract::Step;
using contract::poison;

/// A step whose candidates have these probabilities.
inline Step with_confidences(const std::vector<double>& c) {
  Step step(c.size());
  for (size_t p = 0; p < c.size(); ++p) step.statistics.candidate_logprob[p] = static_cast<float>(std::log(c[p]));
  return step;
}

/// A sampler with its knobs at step 0 of one; `begin` done on `state`.
inline StepDecision decide(const ConfiguredSampler& sampler, const Step& step, CanvasState& state, int32_t step_idx = 0,
                           int32_t num_steps = 1) {
  Step with_knobs = step;
  with_knobs.knobs = sampler.knob_values({.step_idx = step_idx, .num_steps = num_steps});
  if (state.revealed.size() != step.canvas.size()) sampler.sampler->begin(state, step.canvas.size(), num_steps);
  StepDecision decision;
  sampler.decide(with_knobs.view(step_idx, num_steps), state, decision);
  return decision;
}

inline ConfiguredSampler sampler_of(const std::string& text) { return configure_sampler(parse_plugin(text)); }

/// Positions whose action is kCandidate.
inline std::vector<size_t> taken(const StepDecision& decision) {
  std::vector<size_t> out;
  for (size_t p = 0; p < decision.action.size(); ++p)
    if (decision.action[p] == Action::kCandidate) out.push_back(p);
  return out;
}

}  // namespace canvaslab::testing_support
