#include "samplers/contract.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace canvaslab::contract {

Step::Step(size_t length) : canvas(length, 1), allowed(length, 1) {
  statistics.resize(length, StatisticSet::all());
  for (auto* values : {&statistics.argmax_logprob, &statistics.second_logprob, &statistics.candidate_logprob,
                       &statistics.current_logprob, &statistics.argmax_logprob_t1})
    values->assign(length, std::log(0.5f));
  for (auto* values : {&statistics.entropy_nats, &statistics.entropy_t1_nats}) values->assign(length, 1.0f);
}

Step::Step(size_t length, std::mt19937& engine) : Step(length) {
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

StepView Step::view(int32_t step, int32_t steps) const {
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

void poison(RowStatistics& s, StatisticSet declared) {
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

namespace {

Step random_step(const ConfiguredSampler& sampler, size_t length, int32_t step, int32_t steps,
                        std::mt19937& engine) {
  Step out(length, engine);
  out.knobs = sampler.knob_values({.step_idx = step, .num_steps = steps});
  return out;
}

/// Runs `visit(random step, step index, steps)` over whole canvases; the first non-empty answer ends it.
template <typename Visit>
std::string over_canvases(const ConfiguredSampler& sampler, int trials, Visit visit) {
  std::mt19937 engine(kSeed);
  for (int trial = 0; trial < trials; ++trial) {
    const size_t length = 1 + engine() % (trial % 10 == 0 ? 300 : 40);
    const int32_t steps = 1 + static_cast<int32_t>(engine() % 12);
    CanvasState state, twin;
    sampler.sampler->begin(state, length, steps);
    sampler.sampler->begin(twin, length, steps);
    const Step pins(length, engine);
    for (int32_t step = 0; step < steps; ++step) {
      Step random = random_step(sampler, length, step, steps, engine);
      random.allowed = pins.allowed;  // pins hold for the whole canvas
      std::string wrong;
      try {
        wrong = visit(random, step, steps, state, twin);
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      if (!wrong.empty())
        return fmt::format("{} (seed {}, trial {}, L {}, step {} of {})", wrong, kSeed, trial, length, step, steps);
    }
  }
  return "";
}

}  // namespace

std::string moves_with_its_positions(const ConfiguredSampler& sampler) {
  std::mt19937 engine(kSeed);
  for (int trial = 0; trial < 100; ++trial) {
    const size_t length = 2 + engine() % 40;
    const int32_t step = static_cast<int32_t>(engine() % 4);
    const Step here = random_step(sampler, length, step, 4, engine);
    std::vector<size_t> order(length);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), engine);
    Step there = here;
    const auto move = [&](auto& to, const auto& from) {
      for (size_t p = 0; p < length; ++p) to[p] = from[order[p]];
    };
    move(there.canvas, here.canvas), move(there.allowed, here.allowed);
    auto& t = there.statistics;
    const auto& h = here.statistics;
    move(t.argmax, h.argmax), move(t.second, h.second), move(t.candidate, h.candidate);
    move(t.argmax_logprob, h.argmax_logprob), move(t.second_logprob, h.second_logprob),
        move(t.entropy_nats, h.entropy_nats);
    move(t.candidate_logprob, h.candidate_logprob), move(t.current_logprob, h.current_logprob);
    move(t.kl_nats, h.kl_nats), move(t.alternative, h.alternative);
    move(t.argmax_logprob_t1, h.argmax_logprob_t1), move(t.entropy_t1_nats, h.entropy_t1_nats);
    StepView a = here.view(step, 4), b = there.view(step, 4);
    a.given_uniform = b.given_uniform = 0.37;  // draws belong to positions; here all draw alike
    CanvasState x, y;
    sampler.sampler->begin(x, length, 4);
    sampler.sampler->begin(y, length, 4);
    StepDecision first, second;
    sampler.decide(a, x, first);
    sampler.decide(b, y, second);
    for (size_t p = 0; p < length; ++p)
      if (second.action[p] != first.action[order[p]] || (second.action[p] == Action::kToken && second.token[p] != first.token[order[p]]))
        return fmt::format("the decision at position {} did not move with it (trial {})", p, trial);
  }
  return "";
}

std::string reads_only_what_it_declares(const ConfiguredSampler& sampler) {
  return over_canvases(
      sampler, 200,
      [&](Step& random, int32_t step, int32_t steps, CanvasState& state, CanvasState& twin) -> std::string {
        StepDecision decision, again;
        sampler.decide(random.view(step, steps), state, decision);
        poison(random.statistics, sampler.facts.statistics);
        sampler.decide(random.view(step, steps), twin, again);
        if (decision.action != again.action || decision.token != again.token)
          return "a decision differs on the same declared statistics";
        if (state.revealed != twin.revealed) return "the revealed mask differs on the same declared statistics";
        return "";
      });
}

std::string keeps_its_product_law(const ConfiguredSampler& sampler) {
  return over_canvases(
      sampler, 100,
      [&](Step& random, int32_t step, int32_t steps, CanvasState& state, CanvasState& twin) -> std::string {
        StepDecision decision, other;
        StepView view = random.view(step, steps);
        view.given_uniform = 0.37;
        sampler.decide(view, state, decision);
        const size_t kept = random.draws.seed % random.canvas.size();
        for (size_t p = 0; p < random.canvas.size(); ++p)
          if (p != kept) random.statistics.candidate[p] = 0, random.statistics.candidate_logprob[p] = -7 - 0.001f * static_cast<float>(p);
        sampler.decide(view, twin, other);
        if (decision.action[kept] != other.action[kept] || (other.action[kept] == Action::kToken && decision.token[kept] != other.token[kept])) return fmt::format("position {} looks at other candidates", kept);
        return "";
      });
}

std::string keeps_its_joint_bound(const ConfiguredSampler& sampler) {
  return over_canvases(sampler, 100, [&](Step& random, int32_t step, int32_t steps, CanvasState& state, CanvasState&) -> std::string {
    const StepView view = random.view(step, steps);
    const auto bound = sampler.sampler->joint_entropy_bound(view.knobs);
    StepDecision decision;
    sampler.decide(view, state, decision);
    if (!bound) return "";
    std::vector<uint32_t> order;
    for (uint32_t p = 0; p < view.length(); ++p)
      if (view.is_allowed(p)) order.push_back(p);
    const auto& entropy = view.statistics->entropy_nats;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return entropy[a] < entropy[b]; });
    std::vector<Action> expected(view.length(), Action::kNoise);
    double sum = 0;
    for (const uint32_t p : order) {
      sum += entropy[p];
      if (static_cast<float>(sum) - entropy[p] > static_cast<float>(*bound)) break;
      expected[p] = Action::kCandidate;
    }
    for (const uint32_t p : order)
      if (decision.action[p] != expected[p]) return fmt::format("the decision at position {} is not that of the joint bound that it declares, {}", p, *bound);
    return "";
  });
}

std::string keeps_its_progress_contract(const ConfiguredSampler& sampler) {
  return over_canvases(sampler, 200,
                       [&](Step& random, int32_t step, int32_t steps, CanvasState& state, CanvasState&) -> std::string {
                         StepDecision decision;
                         sampler.decide(random.view(step, steps), state, decision);
                         for (size_t p = 0; p < random.canvas.size(); ++p)
                           if (!random.allowed[p] && state.revealed[p])
                             return fmt::format("pinned position {} is counted as revealed", p);
                         return "";
                       });
}

std::string refuses_statistics_that_are_no_numbers(const ConfiguredSampler& sampler) {
  std::mt19937 engine(kSeed);
  const auto fields = [&](RowStatistics& s) {
    std::vector<std::pair<Statistic, std::vector<float>*>> out = {
        {Statistic::kMax, &s.argmax_logprob},        {Statistic::kTop2, &s.second_logprob},
        {Statistic::kEntropy, &s.entropy_nats},      {Statistic::kCandidate, &s.candidate_logprob},
        {Statistic::kCurrent, &s.current_logprob},   {Statistic::kUntempered, &s.argmax_logprob_t1},
        {Statistic::kUntempered, &s.entropy_t1_nats}};
    return out;
  };
  Step probe(5, engine);
  for (size_t f = 0; f < fields(probe.statistics).size(); ++f) {
    for (float bad : {std::nanf(""), INFINITY}) {
      Step step = random_step(sampler, 5, 0, 4, engine);
      auto [bit, values] = fields(step.statistics)[f];
      if (!sampler.facts.statistics.has(bit)) continue;
      (*values)[3] = bad;
      CanvasState state;
      sampler.sampler->begin(state, 5, 4);
      StepDecision decision;
      try {
        sampler.decide(step.view(0, 4), state, decision);
      } catch (const NonFiniteStatistics& error) {
        if (error.position() == 3) continue;
      }
      return fmt::format("{} in declared field {} at position 3 was not refused", bad, f);
    }
  }
  return "";
}

std::string forgets_the_canvas_before(const ConfiguredSampler& sampler) {
  std::mt19937 engine(kSeed);
  for (int trial = 0; trial < 50; ++trial) {
    const size_t length = 1 + engine() % 30;
    CanvasState used, fresh;
    sampler.sampler->begin(used, length, 3);
    for (int32_t step = 0; step < 3; ++step) {
      StepDecision ignored;
      sampler.sampler->step(random_step(sampler, length, step, 3, engine).view(step, 3), used, ignored);
    }
    sampler.sampler->begin(used, length, 4);
    sampler.sampler->begin(fresh, length, 4);
    for (int32_t step = 0; step < 4; ++step) {
      const Step random = random_step(sampler, length, step, 4, engine);
      StepDecision a, b;
      a.action.clear(), b.action.clear();
      sampler.sampler->step(random.view(step, 4), used, a);
      sampler.sampler->step(random.view(step, 4), fresh, b);
      if (a.action != b.action)
        return fmt::format("the decision depends on the canvas before (trial {}, step {})", trial, step);
    }
  }
  return "";
}

std::string pins_hold(const std::vector<int32_t>& canvas_ids, const std::map<int64_t, int32_t>& pins) {
  for (const auto& [position, token] : pins)
    if (canvas_ids.at(static_cast<size_t>(position)) != token)
      return fmt::format("pinned position {} holds {} instead of {}", position,
                         canvas_ids[static_cast<size_t>(position)], token);
  return "";
}

}  // namespace canvaslab::contract
