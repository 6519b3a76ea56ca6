// Filters around other samplers: spacing, cap, ban, never_lock_special.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;

/// Every candidate differs from the canvas.
Step with_confidences(const std::vector<double>& c) {
  Step step(c.size());
  for (size_t p = 0; p < c.size(); ++p) {
    step.canvas[p] = 1, step.statistics.candidate[p] = static_cast<int32_t>(10 + p);
    step.statistics.candidate_logprob[p] = static_cast<float>(std::log(c[p]));
    step.statistics.entropy_nats[p] = 0;
  }
  return step;
}
std::vector<size_t> first(const std::string& sampler, const Step& step) {
  CanvasState state;
  return taken(decide(sampler_of(sampler), step, state, 0, 9));
}
std::string mistake(const std::string& sampler) {
  try {
    sampler_of(sampler);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Spacing, KeepsTheBestApartAndAlwaysTheBestOfAll) {
  const Step step = with_confidences({.5, .9, .6, .7, .2, .8});
  EXPECT_EQ(first("spacing(distance=1)", step).size(), 6u);
  EXPECT_THAT(first("spacing(distance=2)", step), ElementsAre(1, 3, 5));
  EXPECT_THAT(first("spacing(distance=3)", step), ElementsAre(1, 5)) << "3 is too close to both";
  EXPECT_THAT(first("spacing(distance=100)", step), ElementsAre(1));
}

TEST(Filters, TakeSamplersThatAreForCertainCanvasesOnly) {
  EXPECT_EQ(mistake("spacing(fixed_plan(plan=\"0 8 / 4 12\"), distance=2)"), "");
}

TEST(Spacing, LetsTokensThroughThatTheCanvasShowsAlready) {
  Step step = with_confidences({.5, .9, .6});
  step.canvas[0] = step.statistics.candidate[0];
  EXPECT_THAT(first("spacing(distance=3)", step), ElementsAre(0, 1));
}

TEST(Spacing, SameTokenOnlySeparatesEqualTokens) {
  Step step = with_confidences({.5, .9, .6, .7});
  step.statistics.candidate = {7, 7, 8, 7};
  EXPECT_THAT(first("spacing(distance=2, same_token=on)", step), ElementsAre(1, 2, 3));
  EXPECT_THAT(first("spacing(distance=3, same_token=on)", step), ElementsAre(1, 2));
}

TEST(Spacing, HoldsOnRandomCanvasesAroundSeveralSamplers) {
  std::mt19937 engine(101);
  for (const char* text : {"spacing(entropy_bound(5), distance=4)", "spacing(confidence_threshold(0.3), distance=4)",
                           "spacing(fixed_step, distance=4)", "spacing(inner=dus, distance=4)", "spacing(confidence_step, distance=4)"}) {
    const auto sampler = sampler_of(text);
    for (int trial = 0; trial < 50; ++trial) {
      const size_t length = 1 + engine() % 60;
      CanvasState state;
      sampler.sampler->begin(state, length, 5);
      for (int32_t i = 0; i < 5; ++i) {
        Step step(length, engine);
        const auto before = state.revealed;
        const auto decision = decide(sampler, step, state, i, 5);
        size_t previous = SIZE_MAX;
        for (size_t p = 0; p < length && i < 4; ++p) {
          const bool takes = decision.action[p] == Action::kCandidate || decision.action[p] == Action::kArgmax;
          const int32_t token = decision.action[p] == Action::kArgmax ? step.statistics.argmax[p] : step.statistics.candidate[p];
          if (!takes || !step.allowed[p] || token == step.canvas[p]) continue;
          EXPECT_TRUE(previous == SIZE_MAX || p - previous >= 4) << text << " position " << p << " seed 101 trial " << trial;
          previous = p;
        }
        for (size_t p = 0; p < length; ++p) EXPECT_FALSE(state.revealed[p] && !before[p] && decision.action[p] == Action::kNoise);
      }
    }
  }
}

TEST(Cap, LetsTheBestThroughAndTakesASchedule) {
  const Step step = with_confidences({.5, .9, .6, .7, .2, .8});
  EXPECT_THAT(first("cap(max_accepted=2)", step), ElementsAre(1, 5));
  EXPECT_THAT(first("cap(max_accepted=100)", step).size(), 6u);
  CanvasState state;
  const auto sampler = sampler_of("cap(entropy_bound(entropy_bound=linear(9, 0)), max_accepted=linear(1, 6))");
  ASSERT_EQ(sampler.knobs.size(), 2u) << "its own, then that of the sampler inside";
  EXPECT_EQ(sampler.knob_values({.step_idx = 1, .num_steps = 2}), (std::vector<double>{3.5, 4.5}));
  EXPECT_EQ(taken(decide(sampler, step, state, 1, 3)).size(), 2u) << "1 + 5/3 rounds down";
  EXPECT_EQ(taken(decide(sampler, step, state, 2, 3)).size(), 6u) << "not at the last step";
}

TEST(EndFill, FillsBehindTheFirstRevealedEndToken) {
  // Candidates 10, 11, ... at confidences; 12 and 14 end texts.
  const Step step = with_confidences({.5, .95, .92, .3, .99, .2});
  const auto sampler = sampler_of("end_fill(confidence_threshold(0.9), end_ids=\"12 14\")");
  CanvasState state;
  const auto decision = decide(sampler, step, state, 0, 9);
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{0, 1, 1, 1, 1, 1})) << "0 stays open, all behind 2 is final";
  for (const size_t p : {3, 5}) {
    EXPECT_EQ(decision.action[p], Action::kToken);
    EXPECT_EQ(decision.token[p], 12) << "the token of the first end";
  }
  EXPECT_EQ(decision.action[4], Action::kCandidate) << "revealed at this step: keeps its own";
  EXPECT_EQ(decision.action[0], Action::kNoise);
  CanvasState other;
  decide(sampler_of("end_fill(confidence_threshold(0.9), end_ids=\"10 15\")"), step, other, 0, 9);
  EXPECT_EQ(other.revealed, (std::vector<uint8_t>{0, 1, 1, 0, 1, 0})) << "end tokens that are not revealed fill nothing";
}

TEST(EndFill, KeepsPinsAndFillsAtLaterStepsToo) {
  Step step = with_confidences({.95, .4, .2, .3});
  step.allowed.assign(4, 1);
  step.allowed[2] = 0;
  step.canvas[0] = 10;
  const auto sampler = sampler_of("end_fill(confidence_threshold(0.9), end_ids=10)");
  CanvasState state;
  sampler.sampler->begin(state, 4, 9);
  state.revealed[0] = 1;  // an end token from the step before
  const auto decision = decide(sampler, step, state, 1, 9);
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{1, 1, 0, 1})) << "1 is the surest that is open, 3 is filled";
  EXPECT_EQ(decision.action[3], Action::kToken);
  EXPECT_EQ(decision.token[3], 10);
  EXPECT_NE(decision.action[2], Action::kToken) << "pinned";
  EXPECT_THAT(mistake("end_fill(entropy_bound)"), HasSubstr("locks nothing"));
}

TEST(Filters, Nest) {
  const auto sampler = sampler_of("spacing(cap(confidence_threshold(linear(0.1, 0.2)), max_accepted=3), distance=2)");
  EXPECT_EQ(sampler.knobs.size(), 2u);
  EXPECT_EQ(sampler.canonical,
            "spacing(inner=cap(inner=confidence_threshold(threshold=linear(0.1, 0.2), mode=locked), max_accepted=3), distance=2, same_token=false)");
  EXPECT_EQ(sampler_of(sampler.canonical).canonical, sampler.canonical);
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, with_confidences({.5, .9, .6, .7, .2, .8}), state, 0, 9)), ElementsAre(1, 3, 5));
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{0, 1, 0, 1, 0, 1})) << "what is held back is not revealed";
}

TEST(Filters, BringTheFactsOfTheSamplerInside) {
  EXPECT_TRUE(sampler_of("spacing(fixed_step)").facts.fixed_steps && sampler_of("spacing(fixed_step)").facts.locks);
  EXPECT_EQ(sampler_of("spacing(fixed_step)").facts.default_emission, "canvas");
  EXPECT_EQ(sampler_of("spacing").facts.default_stop, "stable_and_confident");
  EXPECT_FALSE(sampler_of("spacing").facts.product_law);
  EXPECT_EQ(sampler_of("ban(confidence_threshold)").facts.min_accepted, 0);
  EXPECT_EQ(sampler_of("cap(confidence_threshold)").facts.min_accepted, 1);
  EXPECT_TRUE(sampler_of("cap(quota(margin))").facts.statistics.has(Statistic::kTop2));
}

TEST(Filters, RefuseSamplersTheyWouldMislead) {
  EXPECT_THAT(mistake("spacing(ddim)"), HasSubstr("follows a noise level"));
  EXPECT_THAT(mistake("cap(wino)"), HasSubstr("remembers"));
  EXPECT_THAT(mistake("never_lock_special(entropy_bound)"), HasSubstr("locks nothing"));
  EXPECT_THAT(mistake("ban(ids=\"3 x\")"), HasSubstr("'x' is not a whole number"));
  EXPECT_THAT(mistake("ban(ids=\"3 -1\")"), HasSubstr("no token id"));
  EXPECT_THAT(mistake("spacing(entropy_bond)"), HasSubstr("did you mean 'entropy_bound'"));
  EXPECT_THAT(mistake("cap(max_accepted=0)"), HasSubstr("out of range"));
}

TEST(Ban, HoldsListedTokensBackAndReplacesThemAtTheLastStep) {
  Step step = with_confidences({.9, .8, .7, .6});
  step.statistics.argmax = {10, 5, 12, 13};
  step.statistics.second = {4, 6, 10, 10};
  const auto sampler = sampler_of("ban(confidence_threshold(0.1), ids=\"10, 11 12\")");
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 9)), ElementsAre(3));
  EXPECT_EQ(state.num_revealed(), 1u);
  const auto last = decide(sampler, step, state, 8, 9);
  EXPECT_EQ(last.action, (std::vector<Action>{Action::kToken, Action::kToken, Action::kCandidate, Action::kKeep}));
  EXPECT_EQ(last.token[0], 4);
  EXPECT_EQ(last.token[1], 5);
}

TEST(NeverLockSpecial, TakesListedTokensButKeepsThePositionOpen) {
  const auto sampler = sampler_of("never_lock_special(confidence_threshold(0.5), ids=11)");
  CanvasState state;
  const Step step = with_confidences({.9, .8, .2});
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 9)), ElementsAre(0, 1));
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{1, 0, 0}));
  EXPECT_THAT(taken(decide(sampler, step, state, 1, 9)), ElementsAre(1));
  EXPECT_EQ(sampler.facts.default_stop, "any_of(all_revealed, stable_and_confident)");
}

TEST(Filters, TheDenoisersDefaultsReachTheSamplerInside) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=4, length=5)");
  struct Suggesting final : Denoiser {
    const Denoiser* base;
    DenoiserFacts changed;
    const DenoiserFacts& facts() const override { return changed; }
    std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override { return base->prefill(prompt); }
    std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override { return base->denoise(rows); }
    std::vector<float> append(Sequence& s, std::span<const int32_t> canvas, bool logits) const override { return base->append(s, canvas, logits); }
    std::string content_hash() const override { return "suggesting"; }
  } suggesting;
  suggesting.base = denoiser.get();
  suggesting.changed = denoiser->facts();
  suggesting.changed.defaults.plugin_values = {{"entropy_bound", "entropy_bound", "0.7"}};
  PlanRequest request;
  for (const char* text : {"spacing", "spacing(entropy_bound)", "spacing(inner=eb)", "cap(spacing(distance=3), 4)"}) {
    request.sampler = text;
    EXPECT_THAT(resolve_plan(request, suggesting).sampler.canonical, HasSubstr("entropy_bound(entropy_bound=0.7)")) << text;
  }
  request.sampler = "spacing(eb(0.2))";
  EXPECT_THAT(resolve_plan(request, suggesting).sampler.canonical, HasSubstr("entropy_bound(entropy_bound=0.2)"));
}

}  // namespace
}  // namespace canvaslab
