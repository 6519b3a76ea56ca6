// less: every one of its three conditions is needed; and the stop rules that look at movement and at chosen entropies.
#include <gtest/gtest.h>

#include <cmath>

#include "samplers/stop_rule.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::sampler_of;
using testing_support::Step;

/// Positions revealed after two steps; `change` prepares the second one.
template <typename Change>
std::vector<size_t> revealed_after_two(Change change, const std::string& text = "less", int32_t steps = 9) {
  const auto sampler = sampler_of(text);
  Step step(4);
  step.knobs = sampler.knob_values({.step_idx = 0, .num_steps = steps});
  step.statistics.argmax = {1, 2, 3, 4};
  const auto sure = [](double p) { return static_cast<float>(std::log(p)); };
  step.statistics.argmax_logprob_t1 = {sure(0.5), sure(0.8), sure(0.9), sure(0.7)};
  step.statistics.kl_nats.assign(4, INFINITY);  // the first step has nothing to compare with
  CanvasState state;
  StepDecision decision;
  sampler.sampler->begin(state, 4, steps);
  sampler.decide(step.view(0, steps), state, decision);
  EXPECT_EQ(state.revealed, (std::vector<uint8_t>{0, 0, 1, 0})) << "nothing qualifies at the first step: the surest one";
  EXPECT_EQ(decision.action[2], Action::kArgmax);
  EXPECT_EQ(decision.action[0], Action::kNoise);
  step.statistics.kl_nats.assign(4, 0.1f);
  change(step);
  sampler.decide(step.view(1, steps), state, decision);
  std::vector<size_t> out;
  for (size_t p = 0; p < 4; ++p)
    if (state.revealed[p]) out.push_back(p);
  return out;
}

TEST(Less, NeedsAllThree) {
  using Positions = std::vector<size_t>;
  const auto two_qualify = [](Step& step) { step.statistics.argmax_logprob_t1[3] = std::log(0.76f); };
  EXPECT_EQ(revealed_after_two(two_qualify), (Positions{1, 2, 3})) << "0.8 and 0.76, stood, settled";
  EXPECT_EQ(revealed_after_two([&](Step& step) { two_qualify(step), step.statistics.argmax[3] = 0; }), (Positions{1, 2})) << "another token now";
  EXPECT_EQ(revealed_after_two([&](Step& step) { two_qualify(step), step.statistics.kl_nats[3] = 0.17f; }), (Positions{1, 2})) << "still moving";
  EXPECT_EQ(revealed_after_two([](Step&) {}), (Positions{1, 2})) << "0.7 is not sure enough";
  EXPECT_EQ(revealed_after_two([](Step& step) { step.statistics.kl_nats.assign(4, 1.0f); }), (Positions{1, 2})) << "none qualifies: the surest one";
  EXPECT_EQ(revealed_after_two([&](Step& step) { two_qualify(step), step.statistics.kl_nats[1] = 1; }, "less(kl_threshold=2)"), (Positions{1, 2, 3}));
  EXPECT_EQ(revealed_after_two(two_qualify, "less(persistence=3)"), (Positions{1, 2})) << "two steps are too few: the surest one";
  EXPECT_EQ(revealed_after_two([](Step&) {}, "less", 2), (Positions{0, 1, 2, 3})) << "the last step reveals all";
}

bool stops(const std::string& rule, const Step& step, const StepDecision& decision = {}) {
  return configure_stop(parse_plugin(rule)).rule->check(step.view(3, 9), {}, decision, {}).has_value();
}

TEST(KlPlateau, ComparesTheMeanOverOpenPositions) {
  Step step(4);
  step.statistics.kl_nats = {0, 0, 0.02f, 0.0199f};
  EXPECT_TRUE(stops("kl_plateau", step));
  step.statistics.kl_nats[0] = 0.0002f;
  EXPECT_FALSE(stops("kl_plateau", step)) << "0.010025 on average";
  step.allowed[2] = 0;
  EXPECT_TRUE(stops("kl_plateau", step));
  step.statistics.kl_nats.assign(4, INFINITY);
  EXPECT_FALSE(stops("kl_plateau(100)", step)) << "the first step";
}

TEST(EntropyStop, LooksAtTheMeanTheLargestOrWhatIsTaken) {
  Step step(4);
  step.statistics.entropy_nats = {0.01f, 0.02f, 0.03f, 0.5f};
  StepDecision decision;
  decision.action = {Action::kCandidate, Action::kKeep, Action::kArgmax, Action::kNoise};
  EXPECT_TRUE(stops("entropy(0.15)", step, decision));
  EXPECT_FALSE(stops("entropy(0.15, over=max)", step, decision));
  EXPECT_TRUE(stops("entropy(0.5, over=max)", step, decision));
  EXPECT_TRUE(stops("entropy(0.0201, over=taken)", step, decision)) << "0.01 and 0.03";
  EXPECT_FALSE(stops("entropy(0.0199, over=taken)", step, decision));
  decision.action.assign(4, Action::kNoise);
  EXPECT_FALSE(stops("entropy(100, over=taken)", step, decision)) << "nothing taken";
  EXPECT_EQ(configure_stop(parse_plugin("entropy")).canonical, "entropy(max_entropy=0.005)") << "what was stored before keeps its name";
}

}  // namespace
}  // namespace canvaslab
