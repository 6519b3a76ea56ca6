// token_reset: its detectors, its two limits, and that it ends.
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

/// Positions reset when all but the last of eight are revealed; every step begins with that mask.
std::vector<size_t> resets(const ConfiguredSampler& sampler, const Step& step, CanvasState& state) {
  if (state.revealed.empty()) sampler.sampler->begin(state, 8, 99);
  state.revealed = {1, 1, 1, 1, 1, 1, 1, 0};
  decide(sampler, step, state, 3, 99);
  std::vector<size_t> out;
  for (size_t p = 0; p < 7; ++p)
    if (!state.revealed[p]) out.push_back(p);
  return out;
}
std::vector<size_t> resets(const std::string& text, const Step& step) {
  CanvasState state;
  return resets(sampler_of(text), step, state);
}
Step with_current(const std::vector<double>& p) {
  Step step(8);
  for (size_t i = 0; i < 8; ++i) step.statistics.current_logprob[i] = static_cast<float>(std::log(p[i]));
  step.statistics.candidate = step.canvas;
  return step;
}

TEST(TokenReset, LowProbabilityTheWorstFirstUpToItsShare) {
  const Step step = with_current({.9, .4, .1, .8, .3, .6, .2, .01});
  EXPECT_THAT(resets("token_reset", step), ElementsAre(2, 6)) << "ceil(7 / 4) of 1, 2, 4, 6; the open one is none of its business";
  EXPECT_THAT(resets("token_reset(max_share=1)", step), ElementsAre(1, 2, 4, 6));
  EXPECT_THAT(resets("token_reset(max_share=0)", step), ElementsAre());
  EXPECT_THAT(resets("token_reset(threshold=0, max_share=1)", step), ElementsAre());
  Step pinned = step;
  pinned.allowed[7] = 0;
  EXPECT_THAT(resets("token_reset(threshold=0.15, max_share=1)", pinned), ElementsAre(2));
}

TEST(TokenReset, ContradictionNeedsADifferentAndSureCandidate) {
  Step step = with_current({.9, .9, .9, .9, .9, .9, .9, .9});
  step.statistics.candidate = {1, 2, 2, 2, 1, 1, 1, 1};  // the canvas is all 1
  for (auto& l : step.statistics.candidate_logprob) l = std::log(.95f);
  step.statistics.candidate_logprob[2] = std::log(.85f);
  EXPECT_THAT(resets("token_reset(detector=contradiction, threshold=0.9, max_share=1)", step), ElementsAre(1, 3));
}

TEST(TokenReset, DropComparesWithTheStepBefore) {
  const auto sampler = sampler_of("token_reset(detector=drop, threshold=0.3, max_share=1)");
  CanvasState state;
  EXPECT_THAT(resets(sampler, with_current({.9, .9, .9, .9, .2, .2, .2, .2}), state), ElementsAre()) << "nothing to compare with yet";
  EXPECT_THAT(resets(sampler, with_current({.5, .61, .95, .1, .2, .1, .9, .2}), state), ElementsAre(0, 3));
  EXPECT_THAT(resets(sampler, with_current({.01, .5, .5, .01, .2, .1, .5, .2}), state), ElementsAre(2, 6)) << "0 and 3 start anew";
}

TEST(TokenReset, EachPositionOnlySoOften) {
  const auto sampler = sampler_of("token_reset(max_resets=2, max_share=1)");
  CanvasState state;
  const Step step = with_current({.1, .9, .9, .9, .9, .9, .9, .9});
  EXPECT_THAT(resets(sampler, step, state), ElementsAre(0));
  EXPECT_THAT(resets(sampler, step, state), ElementsAre(0));
  EXPECT_THAT(resets(sampler, step, state), ElementsAre());
  sampler.sampler->begin(state, 8, 99);
  EXPECT_THAT(resets(sampler, step, state), ElementsAre(0)) << "a new canvas counts anew";
}

TEST(TokenReset, EndsOnAnyStatistics) {
  std::mt19937 engine(111);
  for (const char* text : {"token_reset(threshold=1)", "token_reset(fixed_step, threshold=1)", "token_reset(dus, detector=contradiction, threshold=0)"}) {
    const auto sampler = sampler_of(text);
    EXPECT_TRUE(sampler.facts.revocable && sampler.facts.locks);
    CanvasState state;
    for (int32_t i = 0; i < 400; ++i) {
      Step step(30, engine);
      std::fill(step.allowed.begin(), step.allowed.end(), 1);
      decide(sampler, step, state, std::min(i, 398), 500);
    }
    EXPECT_EQ(state.num_revealed(), 30u) << text << ": 30 positions can be reset 150 times in all, and all can come back; seed 111";
  }
  EXPECT_THROW(sampler_of("token_reset(entropy_bound)"), UserError);
  EXPECT_THROW(sampler_of("spacing(token_reset)"), UserError) << "it remembers";
}

}  // namespace
}  // namespace canvaslab
