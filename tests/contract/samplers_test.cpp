// What every registered plug-in must satisfy: the generic properties G1 to G10 over random step views.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/denoiser.h"
#include "eval/dataset.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

/// A random but consistent step: everything a view points to, owned.
struct RandomStep {
  std::vector<int32_t> canvas;
  RowStatistics statistics;
  std::vector<uint8_t> allowed;
  std::vector<double> knobs;
  DrawKey draws;
  StepView view;

  RandomStep(const ConfiguredSampler& sampler, size_t length, int32_t step, int32_t steps, std::mt19937& engine) {
    std::uniform_real_distribution<float> unit(0, 1);
    const auto tokens = [&] {
      std::vector<int32_t> out(length);
      for (auto& t : out) t = static_cast<int32_t>(engine() % 50);
      return out;
    };
    const auto logprobs = [&] {
      std::vector<float> out(length);
      for (auto& l : out) l = std::log(std::max(1e-6f, unit(engine)));
      return out;
    };
    canvas = tokens();
    statistics = {.argmax = tokens(), .argmax_logprob = logprobs(), .second = tokens(), .second_logprob = logprobs(), .entropy_nats = {}, .candidate = tokens(),
                  .candidate_logprob = logprobs(), .current_logprob = logprobs(), .argmax_logprob_t1 = logprobs(), .entropy_t1_nats = {}};
    for (size_t p = 0; p < length; ++p) {
      statistics.entropy_nats.push_back(unit(engine) * 0.2f);
      statistics.entropy_t1_nats.push_back(unit(engine));
    }
    allowed.assign(length, 1);
    for (auto& a : allowed) a = engine() % 10 != 0;
    draws = {.seed = engine(), .item = 1};
    knobs = sampler.knob_values({.step_idx = step, .num_steps = steps});
    refresh(step, steps);
  }
  void refresh(int32_t step, int32_t steps) {
    view = {.step_idx = step, .num_steps = steps, .is_last = step + 1 == steps, .temperature = 1, .vocabulary = 50, .canvas = canvas, .statistics = &statistics,
            .allowed = allowed, .knobs = knobs, .level_now = static_cast<double>(step) / steps, .level_next = static_cast<double>(step + 1) / steps, .draws = &draws};
  }
};

/// Fills what was not declared with values that would show at once.
void poison(RowStatistics& s, StatisticSet declared, size_t length) {
  const float nan = std::nanf("");
  const auto spoil = [&](Statistic bit, std::vector<float>& values) {
    if (!declared.has(bit)) values.assign(length, nan);
  };
  spoil(Statistic::kMax, s.argmax_logprob);
  spoil(Statistic::kTop2, s.second_logprob);
  spoil(Statistic::kEntropy, s.entropy_nats);
  spoil(Statistic::kCandidate, s.candidate_logprob);
  spoil(Statistic::kCurrent, s.current_logprob);
  spoil(Statistic::kUntempered, s.argmax_logprob_t1);
  spoil(Statistic::kUntempered, s.entropy_t1_nats);
  if (!declared.has(Statistic::kMax)) s.argmax.assign(length, -12345);
  if (!declared.has(Statistic::kTop2)) s.second.assign(length, -12345);
  if (!declared.has(Statistic::kCandidate)) s.candidate.assign(length, -12345);
}

class EverySampler : public ::testing::TestWithParam<std::string> {
 protected:
  ConfiguredSampler sampler = configure_sampler(parse_plugin(GetParam()));
  std::mt19937 engine{20240501};
};

TEST_P(EverySampler, DecidesEveryPositionTheSameWayTwiceAndKeepsItsContract) {
  for (int trial = 0; trial < 200; ++trial) {
    const size_t length = 1 + engine() % 80;
    const int32_t steps = 1 + static_cast<int32_t>(engine() % 12);
    CanvasState state, twin;
    sampler.sampler->begin(state, length, steps);
    sampler.sampler->begin(twin, length, steps);
    size_t revealed_before = 0;
    for (int32_t step = 0; step < steps; ++step) {
      RandomStep random(sampler, length, step, steps, engine);
      StepDecision decision, again;
      sampler.sampler->step(random.view, state, decision);
      ASSERT_EQ(decision.action.size(), length);
      poison(random.statistics, sampler.facts.statistics, length);  // G9: nothing undeclared is read
      sampler.sampler->step(random.view, twin, again);
      ASSERT_EQ(decision.action, again.action) << "trial " << trial << " step " << step;
      ASSERT_EQ(state.revealed, twin.revealed);
      if (sampler.facts.locks) {
        ASSERT_GE(state.num_revealed(), revealed_before);
        for (size_t p = 0; p < length; ++p) {
          if (state.revealed[p]) { ASSERT_NE(decision.action[p], Action::kNoise) << "a revealed position lost its token"; }
        }
        const auto open = static_cast<size_t>(std::count(random.allowed.begin(), random.allowed.end(), 1));
        if (sampler.facts.min_accepted > 0 && revealed_before == 0 && open > 0) { ASSERT_GE(state.num_revealed(), 1u); }
      } else if (sampler.facts.min_accepted > 0) {
        ASSERT_GE(decision.num_accepted(), static_cast<size_t>(sampler.facts.min_accepted));
      }
      revealed_before = state.num_revealed();
    }
  }
}

TEST_P(EverySampler, IsEquivariantUnderPermutationWhereItSaysSo) {
  if (!sampler.facts.permutation_equivariant) GTEST_SKIP() << GetParam() << " declares an order of positions";
  for (int trial = 0; trial < 100; ++trial) {
    const size_t length = 2 + engine() % 40;
    RandomStep random(sampler, length, 0, 4, engine), moved = random;
    std::fill(random.allowed.begin(), random.allowed.end(), 1);
    moved.allowed = random.allowed;
    std::vector<size_t> order(length);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), engine);
    for (size_t p = 0; p < length; ++p) {
      moved.canvas[p] = random.canvas[order[p]];
      moved.statistics.entropy_nats[p] = random.statistics.entropy_nats[order[p]];
      moved.statistics.candidate[p] = random.statistics.candidate[order[p]];
      moved.statistics.candidate_logprob[p] = random.statistics.candidate_logprob[order[p]];
      moved.statistics.argmax[p] = random.statistics.argmax[order[p]];
      moved.statistics.argmax_logprob[p] = random.statistics.argmax_logprob[order[p]];
    }
    random.refresh(0, 4), moved.refresh(0, 4);
    if (sampler.facts.needs_level) continue;  // its routes are drawn by position
    CanvasState a, b;
    sampler.sampler->begin(a, length, 4);
    sampler.sampler->begin(b, length, 4);
    StepDecision here, there;
    sampler.sampler->step(random.view, a, here);
    sampler.sampler->step(moved.view, b, there);
    for (size_t p = 0; p < length; ++p) ASSERT_EQ(there.action[p], here.action[order[p]]) << "position " << p << " of " << length;
  }
}

TEST_P(EverySampler, GeneratesTheSameTokensAloneAndInABatch) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=7, length=8)");
  PlanRequest request;
  request.sampler = GetParam();
  request.num_steps = 6;
  request.max_new_tokens = 16;
  const GenerationPlan plan = resolve_plan(request, *denoiser);
  std::vector<RowInput> rows(3);
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].seed = 5;
    rows[r].item = r;
    rows[r].prompt.ids.assign(r, 1);
  }
  rows[1].pins = {{2, 6}, {11, 0}};
  const auto together = generate(*denoiser, plan, rows);
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto alone = generate(*denoiser, plan, std::span(&rows[r], 1));
    EXPECT_EQ(alone[0].canvas_ids, together[r].canvas_ids);
    EXPECT_EQ(alone[0].canvas_ids.size(), 16u);
    for (int32_t token : alone[0].canvas_ids) EXPECT_TRUE(token >= 0 && token < 7) << token;
  }
  EXPECT_EQ(together[1].canvas_ids[2], 6);
  EXPECT_EQ(together[1].canvas_ids[11], 0);
}

std::vector<std::string> names_of_samplers() {
  std::vector<std::string> out;
  for (const auto& entry : samplers().entries()) out.push_back(entry.name);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Registry, EverySampler, ::testing::ValuesIn(names_of_samplers()), [](const auto& param) { return param.param; });

TEST(Registries, HoldTheExpectedNames) {
  const auto names = [](const auto& registry) {
    std::vector<std::string> out;
    for (const auto& entry : registry.entries()) out.push_back(entry.name);
    return out;
  };
  const auto contains = [&](const auto& registry, std::initializer_list<const char*> expected) {
    const auto all = names(registry);
    for (const char* name : expected) EXPECT_NE(std::find(all.begin(), all.end(), name), all.end()) << name;
  };
  contains(samplers(), {"entropy_bound", "confidence_threshold", "fixed_step", "ddim", "leftmost"});
  contains(schedules(), {"constant", "linear", "linear_remaining", "cosine", "power"});
  contains(stop_rules(), {"stable_and_confident", "entropy", "token_stability", "all_revealed", "never", "max_steps", "all_of", "any_of"});
  contains(denoisers(), {"hmm", "uniform"});
  contains(datasets(), {"source", "prompts"});
}

TEST(Registries, RefuseWhatTheTableDoesNotAllow) {
  for (const auto& entry : samplers().entries()) {
    EXPECT_THROW(configure_sampler(parse_plugin(entry.name + "(no_such_key=1)")), UserError);
    for (const auto& spec : entry.parameters) {
      EXPECT_THROW(configure_sampler(parse_plugin(fmt::format("{}({}=nan)", entry.name, spec.name))), UserError) << entry.name;
      EXPECT_THROW(configure_sampler(parse_plugin(fmt::format("{}({}=word())", entry.name, spec.name))), UserError) << entry.name;
      if (std::isfinite(spec.min)) { EXPECT_THROW(configure_sampler(parse_plugin(fmt::format("{}({}={})", entry.name, spec.name, spec.min - 1))), UserError); }
      if (std::isfinite(spec.max)) {
        EXPECT_NO_THROW(configure_sampler(parse_plugin(fmt::format("{}({}={})", entry.name, spec.name, spec.max))));
        EXPECT_THROW(configure_sampler(parse_plugin(fmt::format("{}({}={})", entry.name, spec.name, spec.max + 1))), UserError);
      }
    }
  }
}

}  // namespace
}  // namespace canvaslab
