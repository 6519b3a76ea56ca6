// The samplers that reveal for good: confidence_threshold, fixed_step, leftmost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;
using testing_support::with_confidences;

TEST(ConfidenceThreshold, TakesExactlyAtTheThreshold) {
  for (double tau : {0.9, 0.7, 0.55, 0.1, 1.0}) {
    CanvasState state;
    const auto sampler = sampler_of(fmt::format("confidence_threshold({})", tau));
    const double below = std::nextafter(static_cast<float>(std::log(tau)), -1e9f);
    Step step = with_confidences({tau, 0.01, tau, 0.02});
    step.statistics.candidate_logprob[1] = static_cast<float>(below);
    EXPECT_THAT(taken(decide(sampler, step, state, 0, 5)), ElementsAre(0, 2)) << "threshold " << tau;
  }
}

TEST(ConfidenceThreshold, ForcesTheMostConfidentWithTheLowerPositionWinningTies) {
  const auto sampler = sampler_of("confidence_threshold");
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, with_confidences({.2, .5, .3, .5}), state, 0, 9)), ElementsAre(1));
  EXPECT_THAT(taken(decide(sampler, with_confidences({.2, .9999, .3, .5}), state, 1, 9)), ElementsAre(3))
      << "a revealed position is not taken again";
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{0, 1, 0, 1}));
}

TEST(ConfidenceThreshold, LastStepEmptiesAndEarlierOnesRevealAtLeastOne) {
  std::mt19937 engine(3);
  for (int trial = 0; trial < 100; ++trial) {
    const size_t length = 1 + engine() % 60;
    const auto sampler = sampler_of("confidence_threshold(1)");  // nothing qualifies: exactly one a step
    CanvasState state;
    Step step(length, engine);
    std::fill(step.allowed.begin(), step.allowed.end(), 1);
    const int32_t steps = 1 + static_cast<int32_t>(engine() % 80);
    for (int32_t i = 0; i < steps; ++i) {
      decide(sampler, step, state, i, steps);
      const size_t expected = i + 1 == steps ? length : std::min(length, static_cast<size_t>(i) + 1);
      ASSERT_EQ(state.num_revealed(), expected) << "step " << i << " of " << steps << ", L " << length;
    }
  }
}

TEST(ConfidenceThreshold, ThresholdMayNotBeZero) {
  EXPECT_THROW(sampler_of("confidence_threshold(0)"), UserError);
  EXPECT_THROW(sampler_of("confidence_threshold(threshold=linear(1, 0))"), UserError);
}

TEST(EvenQuota, SumsToTheLengthInStepsThatDifferByAtMostOneLargestFirst) {
  for (size_t length = 1; length <= 64; ++length)
    for (int32_t n = 1; n <= 64; ++n) {
      size_t done = 0, previous = length;
      for (int32_t i = 0; i < n; ++i) {
        const size_t target = even_quota_target(length, i, n), quota = target - done;
        ASSERT_GE(target, done);
        ASSERT_LE(quota, previous) << "L " << length << " N " << n << " step " << i;
        ASSERT_TRUE(quota == length / static_cast<size_t>(n) || quota == length / static_cast<size_t>(n) + 1);
        done = target, previous = quota;
      }
      ASSERT_EQ(done, length) << "N " << n;
    }
  EXPECT_EQ(even_quota_target(256, 0, 48), 6u);  // 256 = 48 * 5 + 16
  EXPECT_EQ(even_quota_target(256, 15, 48), 96u);
  EXPECT_EQ(even_quota_target(256, 16, 48), 101u);
}

TEST(FixedStep, TakesTheMostConfidentByQuotaOverOpenPositions) {
  const auto sampler = sampler_of("fixed_step");
  CanvasState state;
  Step step = with_confidences({.2, .9, .4, .9, .8, .3});
  step.allowed[4] = 0;  // five open positions in two steps: three, then two
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 2)), ElementsAre(1, 2, 3))
      << "ties by position, the pinned one left out";
  EXPECT_THAT(taken(decide(sampler, step, state, 1, 2)), ElementsAre(0, 5));
  EXPECT_EQ(state.num_revealed(), 5u);
}

TEST(FixedStep, TiesAtTheQuotaGoToTheLowerPosition) {
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler_of("fixed_step"), with_confidences({.5, .5, .5, .5, .5}), state, 0, 3)),
              ElementsAre(0, 1));
}

TEST(FixedStep, MoreStepsThanPositionsRevealOneEachThenNothing) {
  const auto sampler = sampler_of("fixed_step");
  CanvasState state;
  for (int32_t i = 0; i < 7; ++i) {
    decide(sampler, with_confidences({.2, .9, .4}), state, i, 7);
    EXPECT_EQ(state.num_revealed(), std::min<size_t>(3, static_cast<size_t>(i) + 1));
  }
}

TEST(Leftmost, RevealsInReadingOrder) {
  const auto sampler = sampler_of("leftmost");
  for (int32_t steps : {1, 2, 3, 5}) {
    CanvasState state;
    Step step = with_confidences({.1, .9, .9, .9, .9});
    for (int32_t i = 0; i < steps; ++i) {
      decide(sampler, step, state, i, steps);
      const size_t target = even_quota_target(5, i, steps);
      for (size_t p = 0; p < 5; ++p) EXPECT_EQ(state.revealed[p], p < target) << "step " << i << " of " << steps;
    }
  }
  CanvasState state;
  Step pinned = with_confidences({.1, .9, .9, .9});
  pinned.allowed[0] = 0;
  EXPECT_THAT(taken(decide(sampler, pinned, state, 0, 3)), ElementsAre(1));
}

}  // namespace
}  // namespace canvaslab
