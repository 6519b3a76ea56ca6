// Samplers that take back or replace what they took: block_refinement, joint_threshold, wino, confidence_step,
// self_correction, and the stop rule settled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"
#include "samplers/engine.h"
#include "samplers/rules.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;

/// Confidences of candidates that differ from the canvas.
Step with_confidences(const std::vector<double>& c) {
  Step step(c.size());
  for (size_t p = 0; p < c.size(); ++p) {
    step.canvas[p] = 1, step.statistics.candidate[p] = step.statistics.argmax[p] = 2;
    step.statistics.candidate_logprob[p] = step.statistics.argmax_logprob[p] = static_cast<float>(std::log(c[p]));
  }
  return step;
}
std::vector<size_t> noisy(const StepDecision& decision) {
  std::vector<size_t> out;
  for (size_t p = 0; p < decision.action.size(); ++p)
    if (decision.action[p] == Action::kNoise) out.push_back(p);
  return out;
}

// --- block_refinement

TEST(BlockRefinement, RevealsAtLeastItsQuotaAndEverythingAboveTheThreshold) {
  std::mt19937 engine(61);
  for (int trial = 0; trial < 100; ++trial) {
    const size_t length = 1 + engine() % 60;
    const Step pins(length, engine);
    const auto sampler = sampler_of("block_refinement(0.7)");
    CanvasState state;
    const int32_t steps = 1 + static_cast<int32_t>(engine() % 9);
    for (int32_t i = 0; i < steps; ++i) {
      Step step(length, engine);
      step.allowed = pins.allowed;
      const auto before = state.revealed.empty() ? std::vector<uint8_t>(length, 0) : state.revealed;
      decide(sampler, step, state, i, steps);
      const size_t free = num_allowed(step.view(i, steps)), n = static_cast<size_t>(steps);
      EXPECT_GE(state.num_revealed(), (static_cast<size_t>(i + 1) * free + n - 1) / n) << "seed 61 trial " << trial;
      for (size_t p = 0; p < length; ++p)
        if (step.allowed[p] && step.statistics.candidate_logprob[p] > std::log(0.7f)) {
          EXPECT_TRUE(state.revealed[p]);
        }
    }
    EXPECT_EQ(state.num_revealed(), num_allowed(pins.view(0, 1)));
  }
}

TEST(BlockRefinement, QuotaOfTheFirstStepsOf256In48) {
  const auto sampler = sampler_of("block_refinement(1)");
  CanvasState state;
  const Step step = with_confidences(std::vector<double>(256, 0.5));
  for (size_t expected : {6u, 11u, 16u, 22u}) {
    decide(sampler, step, state, static_cast<int32_t>(expected / 5) - 1, 48);
    EXPECT_EQ(state.num_revealed(), expected);
  }
}

TEST(BlockRefinement, EditsOnlyRevealedDifferingAndStrictlySure) {
  const auto sampler = sampler_of("block_refinement(1, editing_threshold=0.9)");
  EXPECT_TRUE(sampler.facts.revocable);
  EXPECT_EQ(sampler.facts.default_stop, "settled");
  CanvasState state;
  sampler.sampler->begin(state, 5, 100);
  state.revealed = {1, 1, 1, 0, 0};
  Step step = with_confidences({.95, .9, .95, .95, .2});
  step.statistics.candidate[2] = step.canvas[2];
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 100)), ElementsAre(0)) << "exactly .9, an agreeing one and open ones are not edited";
  const auto without = sampler_of("block_refinement(1)");
  EXPECT_FALSE(without.facts.revocable);
  EXPECT_THAT(taken(decide(without, step, state, 0, 100)), ElementsAre()) << "revealed tokens never change";
}

// --- joint_threshold

TEST(JointThreshold, DraftsStrictlyAboveForcesOneAndEditsUntilItsBudgetIsSpent) {
  const auto sampler = sampler_of("joint_threshold(max_post_edit_steps=2)");
  CanvasState state;
  Step step = with_confidences({.5, .6, .4});
  EXPECT_EQ(decide(sampler, step, state, 0, 99).action, (std::vector<Action>{Action::kNoise, Action::kArgmax, Action::kNoise}));
  step = with_confidences({.3, .01, .4});
  EXPECT_EQ(decide(sampler, step, state, 1, 99).action, (std::vector<Action>{Action::kNoise, Action::kArgmax, Action::kArgmax}))
      << "2 is forced; 1 is edited, however unsure, at edit_threshold 0";
  decide(sampler, step, state, 2, 99);
  EXPECT_EQ(state.num_revealed(), 3u);
  for (int post = 1; post <= 3; ++post) {
    const auto action = decide(sampler, step, state, 2 + post, 99).action;
    EXPECT_EQ(action, std::vector<Action>(3, post <= 2 ? Action::kArgmax : Action::kKeep)) << "post-edit step " << post;
  }
  CanvasState fresh;
  EXPECT_TRUE(noisy(decide(sampler, step, fresh, 98, 99)).empty()) << "the last step drafts all";
}

// --- settled

TEST(Settled, StopsWhenNothingChanges) {
  const auto stop = configure_stop(parse_plugin("settled"));
  EXPECT_TRUE(stop.breaks_level);
  Step step(4);
  step.canvas = {5, 6, 7, 8};
  step.statistics.candidate = {5, 0, 0, 0};
  step.statistics.argmax = {0, 6, 0, 0};
  StepDecision decision;
  decision.action = {Action::kCandidate, Action::kArgmax, Action::kToken, Action::kKeep};
  decision.token = {0, 0, 7, 0};
  const auto check = [&] { return stop.rule->check(step.view(0, 9), {}, decision, {}); };
  EXPECT_EQ(check(), "settled");
  for (size_t p = 0; p < 4; ++p) {
    const Action was = decision.action[p];
    decision.action[p] = Action::kNoise;
    EXPECT_FALSE(check()) << p;
    step.allowed[p] = 0;
    EXPECT_TRUE(check()) << "a pinned position does not count";
    step.allowed[p] = 1, decision.action[p] = was;
  }
  for (size_t p = 0; p < 3; ++p) {
    ++step.canvas[p];
    EXPECT_FALSE(check()) << "position " << p << " changes";
    --step.canvas[p];
  }
}

TEST(Settled, EndsEditingSamplersOnASettledDenoiser) {
  // The uniform denoiser's argmax is token 0 everywhere: drafted one by one, then one step without a change.
  const auto still = denoisers().make("uniform(alphabet=4, length=3)");
  for (const char* sampler : {"joint_threshold", "block_refinement(editing_threshold=0.5)"}) {
    PlanRequest request;
    request.sampler = sampler;
    request.num_steps = 20;
    request.temperature = "0";
    const auto plan = resolve_plan(request, *still);
    const std::vector<RowInput> rows(1);
    const auto result = generate(*still, plan, rows)[0];
    EXPECT_EQ(result.canvas_stop[0], "settled") << sampler;
    EXPECT_EQ(result.canvas_ids, (std::vector<int32_t>{0, 0, 0}));
  }
}

// --- wino

TEST(Wino, DraftsUpToItsCapAndTakesBackFewerThanItDraftedBefore) {
  std::mt19937 engine(71);
  for (const char* text : {"wino", "wino(verify=loo)", "wino(0.2, 1)", "wino(0.1, 1, loo_nats=0, verify=loo)"}) {
    const auto sampler = sampler_of(text);
    for (int trial = 0; trial < 50; ++trial) {
      const size_t length = 1 + engine() % 80;
      CanvasState state;
      size_t drafted_before = 30, held = 0, won = 0;
      for (int32_t i = 0; i < 12; ++i) {
        Step step(length, engine);
        std::fill(step.allowed.begin(), step.allowed.end(), 1);
        const auto before = state.revealed.empty() ? std::vector<uint8_t>(length, 0) : state.revealed;
        decide(sampler, step, state, i, 13);
        size_t drafted = 0, back = 0;
        for (size_t p = 0; p < length; ++p) drafted += !before[p] && state.revealed[p], back += before[p] && !state.revealed[p];
        const size_t open = length - held;
        EXPECT_LE(drafted, std::min(open, std::clamp<size_t>(open * 7 / 10, 5, 20))) << text << " seed 71 trial " << trial;
        EXPECT_GE(drafted, std::min<size_t>(1, open));
        EXPECT_LT(back, std::max<size_t>(1, drafted_before)) << "net progress";
        EXPECT_TRUE(drafted > 1 || back == 0);
        held = state.num_revealed();
        won += drafted, won -= back;
        EXPECT_EQ(won, held);
        drafted_before = drafted;
      }
      Step last(length, engine);
      std::fill(last.allowed.begin(), last.allowed.end(), 1);
      decide(sampler, last, state, 12, 13);
      EXPECT_EQ(state.num_revealed(), length) << "the last step drafts all and takes nothing back";
    }
  }
}

TEST(Wino, TakesBackTheWorstFirstAndNothingAtZero) {
  Step step = with_confidences({.9, .9, .9, .9, .9, .9});
  const auto try_it = [&](const std::string& text, double drafted_before) {
    const auto sampler = sampler_of(text);
    CanvasState state;
    sampler.sampler->begin(state, 6, 50);
    state.revealed = {1, 1, 1, 1, 0, 0};
    state.scratch = {drafted_before};
    return noisy(decide(sampler, step, state, 3, 50));
  };
  step.statistics.current_logprob = {std::log(.5f), std::log(.1f), std::log(.95f), std::log(.3f), 0, 0};
  EXPECT_THAT(try_it("wino", 30), ElementsAre(0, 1, 3));
  EXPECT_THAT(try_it("wino", 3), ElementsAre(1, 3)) << "fewer than three, the worst";
  EXPECT_THAT(try_it("wino", 1), ElementsAre());
  EXPECT_THAT(try_it("wino(back_threshold=0)", 30), ElementsAre());
  // loo at level 4/6 and V 50: R = 1 + 100 = 101; p = .95 gives 19 / (19 + 101) -> ln = -1.84, the others less.
  EXPECT_THAT(try_it("wino(loo_nats=-1.8, verify=loo)", 30), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(try_it("wino(loo_nats=-1.9, verify=loo)", 30), ElementsAre(0, 1, 3));
  step.statistics.candidate[1] = step.canvas[1];
  EXPECT_THAT(try_it("wino", 30), ElementsAre(0, 3)) << "raw: the draw agrees with the token";
}

// --- confidence_step, self_correction

TEST(ConfidenceStep, TakesTheLargestGainsOverTheTokenThatIsThere) {
  Step step(5);
  step.statistics.argmax_logprob = {std::log(.9f), std::log(.8f), std::log(.9f), std::log(.3f), std::log(.6f)};
  step.statistics.current_logprob = {std::log(.9f), std::log(.1f), std::log(.5f), std::log(.01f), std::log(.6f)};
  CanvasState state;
  const auto action = decide(sampler_of("confidence_step"), step, state, 0, 2).action;  // ceil(5 / 2) = 3; gains 0, .7, .4, .29, 0
  EXPECT_EQ(action, (std::vector<Action>{Action::kKeep, Action::kArgmax, Action::kArgmax, Action::kArgmax, Action::kKeep}));
}

TEST(SelfCorrection, EditsTheSurestContradictionAndNothingWhereAllAgree) {
  const auto sampler = sampler_of("self_correction(patience=3)");
  Step step = with_confidences({.2, .9, .95, .5});
  step.statistics.candidate[2] = step.canvas[2];  // agrees
  step.allowed[1] = 0;                            // pinned
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, step, state, 0, 99)), ElementsAre(3));
  EXPECT_THAT(taken(decide(sampler_of("self_correction(tokens_per_step=5)"), step, state, 0, 99)), ElementsAre(0, 3));
  step.statistics.candidate = step.canvas;
  EXPECT_THAT(taken(decide(sampler, step, state, 1, 99)), ElementsAre());
}

TEST(SelfCorrection, PatienceCountsStepsWithoutARise) {
  const auto sampler = sampler_of("self_correction(patience=3)");
  Step step = with_confidences({.2, .9, .95, .5});
  CanvasState state;
  std::vector<size_t> edits;
  for (int32_t i = 0; i < 8; ++i) {
    if (i == 2) step.statistics.argmax[0] = step.canvas[0];  // one more position holds its argmax: counts anew
    edits.push_back(taken(decide(sampler, step, state, i, 99)).size());
  }
  EXPECT_THAT(edits, ElementsAre(1, 1, 1, 1, 1, 0, 0, 0)) << "a rise at step 2, then two steps without one, then the end";
}

}  // namespace
}  // namespace canvaslab
