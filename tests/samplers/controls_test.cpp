// The control samplers: an order that is written down, and sureness dealt out to wrong positions.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/denoiser.h"
#include "core/error.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::Step;
using testing_support::with_confidences;

/// Positions taken, step by step.
std::vector<std::vector<size_t>> rounds(const ConfiguredSampler& sampler, const Step& step, int32_t steps) {
  CanvasState state;
  sampler.sampler->begin(state, step.canvas.size(), steps);
  std::vector<std::vector<size_t>> out;
  for (int32_t i = 0; i < steps; ++i) {
    const StepDecision decision = testing_support::decide(sampler, step, state, i, steps);
    out.emplace_back();
    for (size_t p = 0; p < decision.action.size(); ++p)
      if (decision.action[p] == Action::kCandidate) out.back().push_back(p);
  }
  return out;
}

TEST(FixedPlan, TakesRoundAfterRoundAndTheRestAtTheEnd) {
  const auto sampler = configure_sampler(parse_plugin("fixed_plan(plan=\"4 1 / 0 / 3\")"));
  Step step(6);
  using Rounds = std::vector<std::vector<size_t>>;
  EXPECT_EQ(rounds(sampler, step, 5), (Rounds{{1, 4}, {0}, {3}, {2, 5}, {}}));
  EXPECT_EQ(rounds(sampler, step, 2), (Rounds{{1, 4}, {0, 2, 3, 5}})) << "the last step takes everything";
  step.allowed[0] = 0;
  EXPECT_EQ(rounds(sampler, step, 3), (Rounds{{1, 4}, {3}, {2, 5}})) << "a round without open positions takes no step";
}

TEST(FixedPlan, RefusesWhatIsNoPlan) {
  for (const char* plan : {"0 0", "1 / 1", "-1", "a", "0,1"}) EXPECT_THROW(configure_sampler(parse_plugin(fmt::format("fixed_plan(plan=\"{}\")", plan))), UserError) << plan;
  const auto sampler = configure_sampler(parse_plugin("fixed_plan(plan=\"7\")"));
  CanvasState state;
  EXPECT_THROW(sampler.sampler->begin(state, 7, 2), UserError);
  EXPECT_NO_THROW(sampler.sampler->begin(state, 8, 2));
}

TEST(Shuffled, TakesAsManyButNotTheSurest) {
  const auto plain = configure_sampler(parse_plugin("factor")), misled = configure_sampler(parse_plugin("shuffled(factor)"));
  Step step = with_confidences({.99, .98, .97, .3, .2, .1, .3, .2, .1, .2, .1, .1});
  std::vector<int> taken(12, 0);
  size_t expected = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    step.draws.seed = seed;
    const auto right = rounds(plain, step, 3)[0], wrong = rounds(misled, step, 3)[0];
    EXPECT_EQ(right, (std::vector<size_t>{0, 1, 2}));
    EXPECT_EQ(wrong.size(), right.size()) << "seed " << seed;
    for (size_t p : wrong) ++taken[p];
    expected += right.size();
  }
  // Every position is as likely: 400 * 3 / 12 = 100 each, variance 400 * 1/4 * 3/4; the limits are 4.6 standard deviations.
  for (size_t p = 0; p < taken.size(); ++p) EXPECT_NEAR(taken[p], static_cast<double>(expected) / 12, 40) << "position " << p;
}

TEST(Shuffled, LeavesRevealedPositionsAndTokensAlone) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=9)");
  PlanRequest request;
  request.sampler = "shuffled(fixed_step)";
  request.num_steps = 3;
  const auto plan = resolve_plan(request, *denoiser);
  std::vector<RowInput> rows(1);
  EXPECT_EQ(generate(*denoiser, plan, rows)[0].canvas_ids.size(), 9u);
  EXPECT_TRUE(plan.sampler.facts.locks);
  EXPECT_FALSE(plan.sampler.facts.product_law);
}

}  // namespace
}  // namespace canvaslab
