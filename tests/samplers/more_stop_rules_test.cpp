// Stop rules of the catalogue: prophet, accepted_all, plateau, confident_to_end, left_complete, flip_aware, stall.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "samplers/engine.h"
#include "samplers/stop_rule.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::Step;

bool stops(const std::string& rule, const StepView& view, const StopHistory& history = {}, const CanvasState& state = {}, const StepDecision& decision = {}) {
  return configure_stop(parse_plugin(rule)).rule->check(view, state, decision, history).has_value();
}

TEST(Sched, LowersItsBarSmoothly) {
  Step step(3);
  step.statistics.argmax_logprob = {-0.5f, -0.5f, -0.5f};
  const auto stops_at = [&](const std::string& rule, double gap, int32_t step_idx, float temperature = 1) {
    step.statistics.second_logprob.assign(3, static_cast<float>(-0.5 - gap / static_cast<double>(temperature)));
    StepView view = step.view(step_idx, 100);
    view.temperature = temperature;
    return stops(rule, view);
  };
  struct Bar {
    std::string rule;
    int32_t step;
    double gap;
  };
  for (const auto& [rule, at, bar] : {Bar{"sched(8, 2)", 0, 8}, Bar{"sched(8, 2)", 50, 5}, Bar{"sched(8, 2)", 99, 2.06}, Bar{"sched(8, 2, cosine)", 25, 8 - 6 * (1 - std::cos(M_PI / 4)) / 2},
                                      Bar{"sched(8, 2, cosine)", 50, 5}, Bar{"sched(8, 2, exponential)", 50, 4}, Bar{"sched(8, 2, exponential)", 0, 8}}) {
    EXPECT_TRUE(stops_at(rule, bar + 1e-3, at)) << rule << " at step " << at;
    EXPECT_FALSE(stops_at(rule, bar - 1e-3, at)) << rule << " at step " << at;
    EXPECT_FALSE(stops_at(rule, bar - 1e-3, at, 0.5f)) << rule << ": the gap is that of temperature 1";
    EXPECT_TRUE(stops_at(rule, bar + 1e-3, at, 0.5f)) << rule;
  }
}

TEST(Entropy, LooksAtAQuantileOrUpToTheEndOfTheText) {
  Step step(5);
  step.statistics.entropy_nats = {0.1f, 0.5f, 0.2f, 0.9f, 0.3f};
  step.statistics.argmax = {1, 2, 7, 1, 7};
  const auto stops_at = [&](const std::string& how, const char* bound) { return stops(std::string("entropy(") + bound + ", " + how + ")", step.view(0, 9)); };
  EXPECT_TRUE(stops_at("over=quantile, quantile=0.6", "0.31")) << "three of five are at or under 0.3";
  EXPECT_FALSE(stops_at("over=quantile, quantile=0.61", "0.31")) << "that needs a fourth";
  EXPECT_TRUE(stops_at("over=quantile, quantile=1", "0.91"));
  EXPECT_FALSE(stops_at("over=quantile, quantile=1", "0.89"));
  EXPECT_TRUE(stops_at("over=quantile, quantile=0", "0.11"));
  EXPECT_TRUE(stops_at("over=to_end, end_ids=\"7\"", "0.27")) << "0.8 / 3 up to the first 7";
  EXPECT_FALSE(stops_at("over=to_end, end_ids=\"7\"", "0.26"));
  EXPECT_TRUE(stops_at("over=to_end, end_ids=\"9\"", "0.41")) << "no end: the whole canvas, 2.0 / 5";
  EXPECT_FALSE(stops_at("over=to_end, end_ids=\"9\"", "0.39"));
  step.allowed = {1, 0, 1, 1, 1};
  step.canvas[1] = 7;
  EXPECT_TRUE(stops_at("over=to_end, end_ids=\"7\"", "0.11")) << "a pinned end token ends the text";
  EXPECT_THROW(stops_at("over=to_end", "0.1"), UserError);
  EXPECT_EQ(configure_stop(parse_plugin("entropy")).canonical, "entropy(max_entropy=0.005)") << "stored texts keep their name";
}

TEST(Prophet, ComparesTheMeanLogitGapWithTheThresholdOfItsThird) {
  Step step(4);
  step.statistics.argmax_logprob = {-1, -1, -1, -1};
  for (const auto& [gap, step_idx, expected] : std::vector<std::tuple<float, int32_t, bool>>{
           {7.5f, 0, true}, {7.4f, 0, false}, {7.4f, 32, false}, {5.0f, 33, true}, {4.9f, 66, false}, {2.5f, 67, true}, {2.4f, 99, false}}) {
    step.statistics.second_logprob.assign(4, -1 - gap);
    EXPECT_EQ(stops("prophet", step.view(step_idx, 100)), expected) << gap << " at step " << step_idx;
    // The same logits at temperature 1/2 have twice the gap in log-probability.
    step.statistics.second_logprob.assign(4, -1 - 2 * gap);
    StepView cold = step.view(step_idx, 100);
    cold.temperature = 0.5f;
    EXPECT_EQ(stops("prophet", cold), expected);
  }
  step.statistics.second_logprob = {-9.5f, -9.5f, -7.5f, -2};  // mean of 8.5, 8.5, 6.5, 1 is 6.125
  EXPECT_FALSE(stops("prophet", step.view(0, 100)));
  step.allowed[3] = 0;  // 7.83 without the pinned one
  EXPECT_TRUE(stops("prophet", step.view(0, 100)));
  step.statistics.second_logprob[0] = -INFINITY;
  EXPECT_TRUE(stops("prophet", step.view(0, 100))) << "an impossible second token";
}

TEST(AcceptedAll, NeedsATokenAtEveryOpenPosition) {
  Step step(3);
  StepDecision decision;
  decision.action = {Action::kCandidate, Action::kArgmax, Action::kToken};
  decision.token = {0, 0, 0};
  EXPECT_TRUE(stops("accepted_all", step.view(0, 9), {}, {}, decision));
  for (Action action : {Action::kNoise, Action::kKeep}) {
    decision.action[1] = action;
    EXPECT_FALSE(stops("accepted_all", step.view(0, 9), {}, {}, decision));
    step.allowed[1] = 0;
    EXPECT_TRUE(stops("accepted_all", step.view(0, 9), {}, {}, decision));
    step.allowed[1] = 1;
  }
}

TEST(AcceptedAll, MayAskForSeveralStepsInARow) {
  Step step(3);
  step.allowed[2] = 0;  // two count
  StepDecision decision;
  decision.action.assign(3, Action::kCandidate);
  StopHistory history;
  const auto stops_with = [&](std::vector<size_t> taken_before) {
    history.num_taken = std::move(taken_before);
    return stops("accepted_all(3)", step.view(0, 9), history, {}, decision);
  };
  EXPECT_FALSE(stops_with({}));
  EXPECT_FALSE(stops_with({2})) << "two steps are one too few";
  EXPECT_TRUE(stops_with({2, 2}));
  EXPECT_FALSE(stops_with({2, 1})) << "not in a row";
  EXPECT_FALSE(stops_with({1, 2, 1, 2}));
  EXPECT_TRUE(stops_with({1, 2, 2}));
  EXPECT_EQ(configure_stop(parse_plugin("accepted_all")).canonical, "accepted_all") << "stored texts keep their name";
}

TEST(Plateau, ToleratesFlipsPerTransition) {
  Step step(4);
  step.statistics.entropy_nats.assign(4, 0.04f);
  step.statistics.argmax = {1, 2, 3, 4};
  const StopHistory swaps{.argmax = {{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 4}, {1, 2, 3, 5}}};
  EXPECT_TRUE(stops("plateau(steps=4)", step.view(5, 48), swaps));
  EXPECT_FALSE(stops("plateau(steps=5)", step.view(5, 48), swaps)) << "not that many yet";
  EXPECT_FALSE(stops("plateau(steps=4, max_flips=0)", step.view(5, 48), swaps));
  const StopHistory drifts{.argmax = {{1, 9, 9, 4}, {1, 9, 3, 4}, {1, 2, 3, 4}}};
  EXPECT_TRUE(stops("plateau(steps=3)", step.view(5, 48), drifts)) << "counted between neighbours in time";
  const StopHistory jumps{.argmax = {{1, 9, 9, 4}, {1, 2, 3, 4}}};
  EXPECT_TRUE(stops("plateau(steps=1)", step.view(5, 48), jumps));
  EXPECT_FALSE(stops("plateau(steps=2)", step.view(5, 48), jumps));
  step.statistics.entropy_nats.assign(4, 0.05f);
  EXPECT_FALSE(stops("plateau(steps=1)", step.view(5, 48), jumps)) << "strict";
}

TEST(ConfidentToEnd, LooksOnlyUpToTheFirstEndToken) {
  Step step(5);
  step.statistics.argmax = {7, 8, 1, 9, 9};
  step.statistics.entropy_nats = {0, 0, 0, 5, 5};
  const StopHistory history{.argmax = {{7, 8, 1, 3, 4}}};
  EXPECT_TRUE(stops("confident_to_end(\"1 106\")", step.view(1, 9), history));
  EXPECT_FALSE(stops("confident_to_end(\"106\")", step.view(1, 9), history)) << "no end token: the whole canvas";
  EXPECT_FALSE(stops("stable_and_confident", step.view(1, 9), history));
  EXPECT_FALSE(stops("confident_to_end(1)", step.view(1, 9), {.argmax = {{7, 9, 1, 3, 4}}})) << "moves before the end";
  EXPECT_FALSE(stops("confident_to_end(1)", step.view(0, 9)));
  step.statistics.entropy_nats[2] = 0.1f;
  EXPECT_FALSE(stops("confident_to_end(1)", step.view(1, 9), history)) << "the end token itself counts";
  std::mt19937 engine(13);
  for (int trial = 0; trial < 200; ++trial) {  // without end tokens it is stable_and_confident
    Step random(1 + engine() % 6, engine);
    for (auto& id : random.statistics.argmax) id = static_cast<int32_t>(engine() % 2);
    for (auto& h : random.statistics.entropy_nats) h *= 0.05f;
    StopHistory past;
    if (trial % 2) past.argmax.push_back(trial % 4 == 1 ? random.statistics.argmax : std::vector<int32_t>(random.canvas.size(), 0));
    EXPECT_EQ(stops("confident_to_end", random.view(1, 9), past), stops("stable_and_confident", random.view(1, 9), past)) << "seed 13 trial " << trial;
  }
}

TEST(LeftComplete, NeedsAFinalEndTokenAndNothingOpenBefore) {
  Step step(4);
  step.canvas = {7, 8, 9, 1};
  step.statistics.candidate = {5, 5, 1, 5};
  StepDecision decision;
  decision.action = {Action::kKeep, Action::kKeep, Action::kCandidate, Action::kNoise};
  CanvasState state{.revealed = {1, 1, 1, 0}, .scratch = {}};
  EXPECT_TRUE(stops("left_complete(1)", step.view(2, 9), {}, state, decision)) << "taken at this very step";
  EXPECT_FALSE(stops("left_complete(2)", step.view(2, 9), {}, state, decision)) << "another end token";
  EXPECT_FALSE(stops("left_complete", step.view(2, 9), {}, state, decision)) << "none listed";
  state.revealed = {1, 0, 1, 0};
  EXPECT_FALSE(stops("left_complete(1)", step.view(2, 9), {}, state, decision)) << "an open position before";
  step.allowed[1] = 0;
  EXPECT_TRUE(stops("left_complete(1)", step.view(2, 9), {}, state, decision)) << "a pinned one is no open one";
  state.revealed = {1, 1, 0, 1};
  EXPECT_FALSE(stops("left_complete(1)", step.view(2, 9), {}, state, decision)) << "the end token is not final";
}

TEST(FlipAware, WaitsLongerTheMoreTheAnswerChanged) {
  Step step(3);
  step.statistics.argmax_logprob.assign(3, std::log(.7f) + 1e-6f);
  const std::vector<int32_t> a = {4, 1, 8}, also_a = {4, 1, 9}, b = {5, 1, 8};
  step.statistics.argmax = a;
  EXPECT_FALSE(stops("flip_aware(1)", step.view(1, 9), {.argmax = {a}})) << "two steps of three";
  EXPECT_TRUE(stops("flip_aware(1)", step.view(2, 9), {.argmax = {a, a}}));
  EXPECT_TRUE(stops("flip_aware(1)", step.view(2, 9), {.argmax = {a, also_a}})) << "what lies behind the end token is no answer";
  EXPECT_FALSE(stops("flip_aware", step.view(2, 9), {.argmax = {a, also_a}})) << "without end tokens it is";
  EXPECT_TRUE(stops("flip_aware(1)", step.view(3, 9), {.argmax = {b, a, a}})) << "one flip: max(3, 2)";
  EXPECT_FALSE(stops("flip_aware(1)", step.view(4, 9), {.argmax = {b, a, b, a, a}})) << "three flips: six steps";
  EXPECT_TRUE(stops("flip_aware(1)", step.view(8, 9), {.argmax = {b, a, b, a, a, a, a, a}}));
  step.statistics.argmax_logprob[0] = std::log(.5f);
  EXPECT_FALSE(stops("flip_aware(1)", step.view(2, 9), {.argmax = {a, a}})) << "mean of .5 and .7 is below .7";
  step.statistics.argmax_logprob[2] = -90;
  EXPECT_TRUE(stops("flip_aware(1, confidence=0.6)", step.view(2, 9), {.argmax = {a, a}})) << "the tail does not count";
}

TEST(Stall, CountsStepsWithoutProgress) {
  Step step(4);
  StepDecision none, two;
  none.action = {Action::kNoise, Action::kKeep, Action::kNoise, Action::kKeep};
  two.action = {Action::kCandidate, Action::kKeep, Action::kNoise, Action::kArgmax};
  const auto stalls = [&](const std::string& rule, const StepDecision& decision, std::vector<size_t> before) {
    return stops(rule, step.view(5, 48), {.argmax = {}, .num_taken = std::move(before)}, {}, decision);
  };
  EXPECT_TRUE(stalls("stall(1)", none, {}));
  EXPECT_TRUE(stalls("stall(1)", none, {3}));
  EXPECT_FALSE(stalls("stall(1)", two, {}));
  EXPECT_FALSE(stalls("stall(3)", none, {0})) << "two steps of three";
  EXPECT_TRUE(stalls("stall(3)", none, {0, 0}));
  EXPECT_TRUE(stalls("stall(3)", none, {4, 0, 0}));
  EXPECT_FALSE(stalls("stall(3)", none, {0, 0, 1, 0}));
  EXPECT_FALSE(stalls("stall(3)", two, {0, 0, 0, 0}));
  EXPECT_FALSE(stalls("stall(1, progress=more)", two, {})) << "there is no step to compare with";
  EXPECT_TRUE(stalls("stall(1, progress=more)", two, {2}));
  EXPECT_FALSE(stalls("stall(1, progress=more)", two, {1}));
  EXPECT_TRUE(stalls("stall(3, progress=more)", two, {3, 3, 1})) << "as many as before is no more";
  EXPECT_FALSE(stalls("stall(3, progress=more)", two, {2, 3, 1}));
  EXPECT_TRUE(stalls("stall(3, progress=more)", two, {4, 2, 3, 1})) << "less than once before";
  step.allowed[0] = step.allowed[3] = 0;
  EXPECT_TRUE(stalls("stall(1)", two, {})) << "pinned positions do not count";
  EXPECT_THROW(configure_stop(parse_plugin("stall(0)")), UserError);
  EXPECT_THROW(configure_stop(parse_plugin("stall(progress=less)")), UserError);
}

/// Positions taken at every step of the first canvas.
struct TakenPerStep final : Observer {
  std::vector<int64_t> taken;
  void on_step(const StepRecord& record) override { taken.push_back(std::count(record.accepted.begin(), record.accepted.end(), 1)); }
};

TEST(Stall, StopsWhatTheEngineRunsAtTheFirstStepThatStalls) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6, length=12)");
  size_t early = 0;
  for (uint64_t item = 0; item < 40; ++item)
    for (const bool more : {false, true}) {
      PlanRequest request;
      request.sampler = more ? "entropy_bound(1)" : "wino";
      request.stop = fmt::format("any_of(never, stall(3, progress={}))", more ? "more" : "any");
      request.num_steps = 30;
      RowInput row;
      row.seed = 7, row.item = item, row.pins = {{3, 1}};
      TakenPerStep observer;
      const auto result = generate(*denoiser, resolve_plan(request, *denoiser), std::span(&row, 1), &observer)[0];
      const auto& taken = observer.taken;
      std::optional<size_t> expected;
      for (size_t t = more ? 3 : 2; t < taken.size() && !expected; ++t) {
        int64_t best = 0;
        for (size_t i = 0; more && i + 3 <= t; ++i) best = std::max(best, taken[i]);
        if (std::max({taken[t], taken[t - 1], taken[t - 2]}) <= best) expected = t;
      }
      EXPECT_EQ(result.canvas_stop.at(0), expected ? "stall" : "step_limit") << "seed 7 item " << item;
      EXPECT_EQ(taken.size(), expected ? *expected + 1 : 30) << "seed 7 item " << item;
      early += taken.size() < 30;
    }
  EXPECT_GT(early, 10u) << "or nothing was tested";
}

}  // namespace
}  // namespace canvaslab
