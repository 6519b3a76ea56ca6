// Samplers that know where a position lies: dus, hierarchy, slowfast.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "samplers/rules.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;
using testing_support::with_confidences;

TEST(Dus, RoundsPartitionTheCanvasWithTheirStride) {
  const auto sampler = sampler_of("dus");
  CanvasState state;
  const Step step(256);
  size_t stride = 128;
  for (size_t size : {2u, 2u, 4u, 8u, 16u, 32u, 64u, 128u}) {
    const auto now = taken(decide(sampler, step, state, 0, 99));
    EXPECT_EQ(now.size(), size);
    for (size_t p : now) EXPECT_EQ(p % stride, 0u);
    for (size_t i = 1; i < now.size(); ++i) EXPECT_GE(now[i] - now[i - 1], stride) << "spacing";
    stride /= 2;
  }
  EXPECT_EQ(state.num_revealed(), 256u);
}

TEST(Dus, CoversAnyLengthAndBaseInAboutLogSteps) {
  for (size_t length = 1; length <= 300; ++length)
    for (const char* base : {"2", "3", "7"}) {
      const auto sampler = sampler_of(fmt::format("dus({})", base));
      CanvasState state;
      const Step step(length);
      int32_t rounds = 0;
      while (state.revealed.empty() || state.num_revealed() < length) {
        ASSERT_FALSE(taken(decide(sampler, step, state, 0, 99)).empty()) << length << " base " << base;
        ++rounds;
      }
      EXPECT_LE(rounds, std::max(1.0, std::ceil(std::log(static_cast<double>(length)) / std::log(std::stod(base)) - 1e-9))) << length << " base " << base;
    }
}

TEST(Hierarchy, RevealsOnePerRunBelowTheThresholdAndTheSurestOfAll) {
  const auto sampler = sampler_of("hierarchy");
  Step step = with_confidences({.5, .6, .2, .7, .95, .39, .3});
  step.allowed[2] = 0;  // runs 0-1 and 3-6
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 9)), ElementsAre(1, 4));
  EXPECT_THAT(taken(decide(sampler, step, state, 1, 9)), ElementsAre(0, 3)) << "5-6 has nothing above .4";
  EXPECT_THAT(taken(decide(sampler, step, state, 2, 9)), ElementsAre(5)) << "forced";
  CanvasState again;
  EXPECT_THAT(taken(decide(sampler_of("hierarchy(threshold=0.45)"), step, again, 0, 9)), ElementsAre(0, 1, 3, 4));
  CanvasState last;
  EXPECT_EQ(taken(decide(sampler, step, last, 8, 9)).size(), 6u) << "the last step reveals all";
}

TEST(Hierarchy, AtMostOneLowCommitPerRunOnRandomCanvases) {
  std::mt19937 engine(81);
  const auto sampler = sampler_of("hierarchy");
  for (int trial = 0; trial < 200; ++trial) {
    const size_t length = 1 + engine() % 60;
    CanvasState state;
    for (int32_t i = 0; i < 5; ++i) {
      Step step(length, engine);
      const auto open = state.revealed.empty() ? step.allowed : open_positions(step.view(i, 99), state);
      decide(sampler, step, state, i, 99);
      int low = 0;
      for (size_t p = 0; p < length; ++p) {
        if (!open[p]) low = 0;
        else low += state.revealed[p] && step.statistics.candidate_logprob[p] <= std::log(0.9f);
        EXPECT_LE(low, 1) << "seed 81 trial " << trial;
      }
    }
  }
}

TEST(SlowFast, ExploresThenFillsThenMovesOn) {
  const auto sampler = sampler_of("slowfast");
  CanvasState state;
  const Step step = with_confidences({.5, .4, .35, .6, .1, .1, .95, .2});
  // Explore: the reach is position 6 (.95); alone at .9, it is revealed first; the next estimate, 4, is 1.5 away from 7.
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 99)), ElementsAre(6));
  EXPECT_THAT(taken(decide(sampler, step, state, 1, 99)), ElementsAre(3));
  EXPECT_EQ(state.scratch[1], 0) << "a standard deviation of 1.5 is not settled";
  EXPECT_THAT(taken(decide(sampler, step, state, 2, 99)), ElementsAre(0)) << "reach now 2, estimate 3: settled";
  EXPECT_EQ(state.scratch[1], 3);
  EXPECT_THAT(taken(decide(sampler, step, state, 3, 99)), ElementsAre(1)) << "fill [0, 3), one at a time below .9";
  EXPECT_THAT(taken(decide(sampler, step, state, 4, 99)), ElementsAre(2));
  EXPECT_THAT(taken(decide(sampler, step, state, 5, 99)), ElementsAre(7)) << "explore from 3 on: the surest";
  const Step sure = with_confidences({.5, .4, .35, .6, .99, .92, .95, .2});
  EXPECT_THAT(taken(decide(sampler, sure, state, 6, 99)), ElementsAre(4, 5)) << "two or more at .9 are revealed together";
  EXPECT_EQ(state.num_revealed(), 8u);
}

TEST(SlowFast, RevealsAtLeastOneAndEndsByTheLengthAndTheLastStep) {
  std::mt19937 engine(91);
  for (int trial = 0; trial < 200; ++trial) {
    const size_t length = 1 + engine() % 50;
    const auto sampler = sampler_of(trial % 2 ? "slowfast" : "slowfast(exploration_steps=1, stability=0)");
    CanvasState state;
    const Step pins(length, engine);
    for (int32_t i = 0; i < static_cast<int32_t>(length); ++i) {
      Step step(length, engine);
      step.allowed = pins.allowed;
      decide(sampler, step, state, i, 99);  // checks min_accepted
    }
    EXPECT_EQ(state.num_revealed(), num_allowed(pins.view(0, 1))) << "seed 91 trial " << trial;
  }
}

}  // namespace
}  // namespace canvaslab
