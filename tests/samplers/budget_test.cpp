// Stop rules over what a sequence has cost, and over how well it agrees with the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/denoiser.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing_support::Step;

std::optional<std::string> stops(const std::string& rule, const StepView& view, const StepDecision& decision, const StopHistory& history) {
  return configure_stop(parse_plugin(rule)).rule->check(view, {}, decision, history);
}

TEST(Budget, CountsWeightedForwardsOrPositions) {
  const Step step(4);
  StepDecision decision;
  decision.action.assign(4, Action::kKeep);
  StopHistory history;
  history.forwards = {.denoise = 6, .verify = 2, .unconditional = 3, .append = 1, .prefill = 50};
  history.positions = {.denoise = 24, .verify = 5, .unconditional = 12, .append = 4, .prefill = 50};
  const auto spent = [&](const std::string& rule) { return stops(rule, step.view(0, 9), decision, history).has_value(); };
  EXPECT_TRUE(spent("budget(12)")) << "6 + 2 + 3 + 1; the prompt is not counted";
  EXPECT_FALSE(spent("budget(12.5)"));
  EXPECT_TRUE(spent("budget(6, verify=0, unconditional=0, append=0)"));
  EXPECT_FALSE(spent("budget(6.5, verify=0, unconditional=0, append=0)"));
  EXPECT_TRUE(spent("budget(7.1, verify=0.3, unconditional=0, append=0.5)"));
  EXPECT_FALSE(spent("budget(7.2, verify=0.3, unconditional=0, append=0.5)"));
  EXPECT_TRUE(spent("budget(45, of=positions)"));
  EXPECT_FALSE(spent("budget(46, of=positions)"));
}

RowResult run(const std::string& denoiser, const std::string& stop, const std::string& sampler) {
  const auto made = denoisers().make(denoiser);
  PlanRequest request;
  request.sampler = sampler, request.stop = stop, request.num_steps = 8, request.canvas_length = 4, request.max_new_tokens = 16;
  const RowInput row{.prompt = {}, .seed = 4, .item = 2, .repeat = 0, .init_canvas = {}, .pins = {}};
  return generate(*made, resolve_plan(request, *made), std::span(&row, 1))[0];
}

TEST(Budget, EndsThinkingNotTheText) {
  const auto row = run("hmm(states=3, alphabet=5)", "budget(12, append=0)", "entropy_bound(0.1)");
  EXPECT_THAT(row.steps_per_canvas, ElementsAre(8, 4, 1, 1));
  EXPECT_THAT(row.canvas_stop, ElementsAre("step_limit", "budget", "budget", "budget"));
  EXPECT_EQ(row.token_ids.size(), 16u);
  const auto positions = run("hmm(states=3, alphabet=5)", "budget(64, of=positions)", "entropy_bound(0.1)");
  EXPECT_THAT(positions.steps_per_canvas, ElementsAre(8, 7, 1, 1)) << "32 positions of steps and 4 of an append; then 7 * 4 more";
  const auto guided = run("cfg(hmm(states=3, alphabet=5), scale=2)", "budget(12, append=0)", "entropy_bound(0.1)");
  EXPECT_LT(guided.steps_per_canvas[0], 8) << "forwards without the prompt cost as well";
}

TEST(Patience, WaitsForABetterAgreementAndStopsAtAStandstill) {
  Step step(4);
  step.canvas = {1, 2, 3, 4};
  step.statistics.argmax = {1, 2, 9, 9};
  step.statistics.candidate = {7, 7, 7, 9};
  StepDecision decision;
  decision.action = {Action::kKeep, Action::kKeep, Action::kKeep, Action::kCandidate};  // three of four hold their argmax then
  const auto after = [&](std::vector<size_t> before) { return stops("patience(2)", step.view(5, 48), decision, {.argmax = {}, .num_taken = {}, .num_at_argmax = std::move(before), .forwards = {}, .positions = {}}).has_value(); };
  EXPECT_FALSE(after({})) << "the first is the best so far";
  EXPECT_FALSE(after({2, 2, 2})) << "this step is better than three that were not";
  EXPECT_FALSE(after({3, 1})) << "two steps without a new best are borne";
  EXPECT_TRUE(after({3, 1, 3}));
  EXPECT_FALSE(after({1, 3, 2})) << "two behind the best at the second step";
  EXPECT_TRUE(after({1, 4, 2, 2}));
  decision.action[3] = Action::kNoise;
  EXPECT_FALSE(after({1})) << "noise is a change";
  decision.action = {Action::kKeep, Action::kArgmax, Action::kKeep, Action::kKeep};
  EXPECT_TRUE(after({})) << "nothing changes: 2 is the argmax at position 1 and stands there";
  step.canvas[1] = 5;
  EXPECT_FALSE(after({}));
  step.allowed = {1, 0, 1, 1};
  EXPECT_TRUE(after({})) << "a pinned position does not count";
}

TEST(Patience, TheEngineKeepsTheAgreementOfEveryStep) {
  const auto row = run("hmm(states=3, alphabet=5)", "patience(0)", "self_correction");
  for (const int32_t steps : row.steps_per_canvas) EXPECT_LE(steps, 5) << "agreement of 4 positions can rise four times";
  EXPECT_THAT(row.canvas_stop, Each("patience"));
}

}  // namespace
}  // namespace canvaslab
