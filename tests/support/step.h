#pragma once
// Steps for tests: everything a StepView points to, owned; random ones, and ones written down.
#include <cmath>
#include <random>

#include "samplers/sampler.h"

namespace canvaslab::testing_support {

/// One step of one canvas. Fill the fields, then ask for a view.
struct Step {
  int32_t vocabulary = 50;
  std::vector<int32_t> canvas;
  RowStatistics statistics;
  std::vector<uint8_t> allowed;
  std::vector<double> knobs;
  DrawKey draws{.seed = 1};

  /// Every statistic present, all equal: argmax and candidate 0, probability 1/2, entropy 1.
  explicit Step(size_t length) : canvas(length, 1), allowed(length, 1) {
    statistics.resize(length, StatisticSet::all());
    for (auto* values : {&statistics.argmax_logprob, &statistics.second_logprob, &statistics.candidate_logprob,
                         &statistics.current_logprob, &statistics.argmax_logprob_t1})
      values->assign(length, std::log(0.5f));
    for (auto* values : {&statistics.entropy_nats, &statistics.entropy_t1_nats}) values->assign(length, 1.0f);
  }
  /// Random values without ties (almost surely); one position in ten is pinned.
  Step(size_t length, std::mt19937& engine) : Step(length) {
    std::uniform_real_distribution<float> unit(0, 1);
    for (auto* ids : {&canvas, &statistics.argmax, &statistics.second, &statistics.candidate})
      for (auto& id : *ids) id = static_cast<int32_t>(engine() % static_cast<uint32_t>(vocabulary));
    for (auto* values : {&statistics.argmax_logprob, &statistics.second_logprob, &statistics.candidate_logprob,
                         &statistics.current_logprob, &statistics.argmax_logprob_t1})
      for (auto& value : *values) value = std::log(std::max(1e-6f, unit(engine)));
    for (auto& value : statistics.entropy_nats) value = unit(engine) * 0.2f;
    for (auto& value : statistics.entropy_t1_nats) value = unit(engine);
    for (auto& value : statistics.kl_nats) value = unit(engine) * 0.03f;
    for (auto& id : statistics.alternative) id = static_cast<int32_t>(engine() % static_cast<uint32_t>(vocabulary));
    for (auto& a : allowed) a = engine() % 10 != 0;
    draws = {.seed = engine(), .item = 1};
  }

  StepView view(int32_t step, int32_t steps) const {
    return {.step_idx = step,
            .num_steps = steps,
            .is_last = step + 1 == steps,
            .temperature = 1,
            .vocabulary = vocabulary,
            .canvas = canvas,
            .statistics = &statistics,
            .allowed = allowed,
            .knobs = knobs,
            .level_now = static_cast<double>(step) / steps,
            .level_next = static_cast<double>(step + 1) / steps,
            .draws = &draws};
  }
};

/// A step whose candidates have these probabilities.
inline Step with_confidences(const std::vector<double>& c) {
  Step step(c.size());
  for (size_t p = 0; p < c.size(); ++p) step.statistics.candidate_logprob[p] = static_cast<float>(std::log(c[p]));
  return step;
}

/// Fills what was not declared with values that would show at once.
inline void poison(RowStatistics& s, StatisticSet declared) {
  const float nan = std::nanf("");
  const auto spoil = [&](Statistic bit, std::vector<float>& values) {
    if (!declared.has(bit)) std::fill(values.begin(), values.end(), nan);
  };
  const auto spoil_ids = [&](Statistic bit, std::vector<int32_t>& ids) {
    if (!declared.has(bit)) std::fill(ids.begin(), ids.end(), -12345);
  };
  spoil(Statistic::kMax, s.argmax_logprob);
  spoil(Statistic::kTop2, s.second_logprob);
  spoil(Statistic::kEntropy, s.entropy_nats);
  spoil(Statistic::kCandidate, s.candidate_logprob);
  spoil(Statistic::kCurrent, s.current_logprob);
  spoil(Statistic::kUntempered, s.argmax_logprob_t1);
  spoil(Statistic::kUntempered, s.entropy_t1_nats);
  spoil(Statistic::kDivergence, s.kl_nats);
  spoil_ids(Statistic::kAlternative, s.alternative);
  spoil_ids(Statistic::kMax, s.argmax);
  spoil_ids(Statistic::kTop2, s.second);
  spoil_ids(Statistic::kCandidate, s.candidate);
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
