// Stop rules: exact comparisons, first possible stop, composition, pinned positions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/denoiser.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::Step;

std::optional<std::string> check(const std::string& rule, const Step& step, const StopHistory& history = {},
                                 int32_t step_idx = 0) {
  const CanvasState state{.revealed = std::vector<uint8_t>(step.canvas.size(), 0), .scratch = {}};
  return configure_stop(parse_plugin(rule)).rule->check(step.view(step_idx, 48), state, {}, history);
}
Step with_entropy(float h, size_t length = 4) {
  Step step(length);
  step.statistics.entropy_nats.assign(length, h);
  return step;
}

TEST(StopRules, StrictAndInclusiveAtTheExactThreshold) {
  for (const char* text : {"0.005", "0.1", "0.25", "0.7"}) {
    const float exact = std::stof(text), below = std::nextafter(exact, 0.0f), above = std::nextafter(exact, 9.0f);
    const std::string confident = fmt::format("stable_and_confident(0, {})", text),
                      entropy = fmt::format("entropy({})", text);
    EXPECT_TRUE(check(confident, with_entropy(below))) << text;
    EXPECT_FALSE(check(confident, with_entropy(exact))) << text << ": strict, as transformers";
    EXPECT_TRUE(check(entropy, with_entropy(exact))) << text << ": inclusive, as gemma";
    EXPECT_FALSE(check(entropy, with_entropy(above))) << text;
  }
}

TEST(StopRules, StabilityLooksAtExactlySoManyEarlierCanvases) {
  const Step step = with_entropy(0);
  const std::vector<int32_t> same(4, 0);
  std::vector<int32_t> other = same;
  other[2] = 7;  // one differing token blocks
  StopHistory history;
  EXPECT_TRUE(check("stable_and_confident(0)", step, history));
  EXPECT_FALSE(check("stable_and_confident(1)", step, history)) << "history starts unmatched";
  history.argmax = {other};
  EXPECT_TRUE(check("stable_and_confident(0)", step, history));
  EXPECT_FALSE(check("stable_and_confident(1)", step, history));
  history.argmax = {other, same};
  EXPECT_TRUE(check("stable_and_confident(1)", step, history));
  EXPECT_FALSE(check("stable_and_confident(2)", step, history));
  history.argmax = {other, same, same};
  EXPECT_TRUE(check("stable_and_confident(2)", step, history));
  EXPECT_FALSE(check("stable_and_confident(3)", step, history));
}

TEST(StopRules, TokenStabilityComparesWithTheCanvasThatWasFedIn) {
  Step step(3);
  step.statistics.argmax = {4, 5, 6};
  step.canvas = {4, 5, 6};
  EXPECT_TRUE(check("token_stability", step));
  step.canvas[1] = 9;
  EXPECT_FALSE(check("token_stability", step));
}

TEST(StopRules, PinnedPositionsDoNotCount) {
  Step step = with_entropy(0);
  step.statistics.entropy_nats[1] = 9;
  step.statistics.argmax = {1, 2, 1, 1};
  step.canvas = {1, 3, 1, 1};
  const StopHistory history{.argmax = {{1, 4, 1, 1}}};
  for (const char* rule : {"entropy", "stable_and_confident", "token_stability"}) {
    step.allowed[1] = 1;
    EXPECT_FALSE(check(rule, step, history)) << rule;
    step.allowed[1] = 0;
    EXPECT_TRUE(check(rule, step, history)) << rule;
  }
  step.allowed.assign(4, 0);
  EXPECT_TRUE(check("all_of(entropy(0), all_revealed)", step, history)) << "nothing is open";
}

TEST(StopRules, CountAndReveal) {
  const Step step(2);
  EXPECT_FALSE(check("max_steps(3)", step, {}, 1));
  EXPECT_TRUE(check("max_steps(3)", step, {}, 2));
  EXPECT_FALSE(check("never", with_entropy(0)));
  const auto rule = configure_stop(parse_plugin("all_revealed"));
  EXPECT_FALSE(rule.rule->check(step.view(0, 4), {.revealed = {1, 0}, .scratch = {}}, {}, {}));
  EXPECT_TRUE(rule.rule->check(step.view(0, 4), {.revealed = {1, 1}, .scratch = {}}, {}, {}));
}

TEST(StopRules, ComposeAndNameTheirReasons) {
  const Step step = with_entropy(0);
  EXPECT_EQ(check("all_of(entropy, max_steps(1))", step), "entropy+max_steps");
  EXPECT_FALSE(check("all_of(entropy, never)", step));
  EXPECT_EQ(check("any_of(never, entropy)", step), "entropy");
  EXPECT_FALSE(check("any_of(never, max_steps(2))", step));
  EXPECT_EQ(check("any_of(all_of(never, entropy), all_of(entropy, max_steps(1)))", step), "entropy+max_steps");
  const auto stop = configure_stop(parse_plugin("All-Of(entropy, any_of(max_steps(7), token_stability))"));
  EXPECT_EQ(stop.canonical, "all_of(entropy(max_entropy=0.005), any_of(max_steps(steps=7), token_stability))");
  EXPECT_TRUE(stop.statistics.has(Statistic::kEntropy) && stop.statistics.has(Statistic::kMax))
      << "statistics of children are asked for";
  EXPECT_TRUE(stop.breaks_level);
  EXPECT_EQ(configure_stop(parse_plugin(stop.canonical)).canonical, stop.canonical);
}

TEST(StopRules, RefuseEmptyAndMistypedCompositions) {
  for (const char* rule : {"all_of()", "any_of", "all_of(rules=never)", "all_of(never, rules=entropy)", "all_of(nver)",
                           "all_of(entropy(-1))", "max_steps(0)"})
    EXPECT_THROW(configure_stop(parse_plugin(rule)), UserError) << rule;
}

/// Counts executed steps of a canvas whose argmax never moves and whose entropy is 0 from the first step on.
int32_t steps_until(const std::string& stop) {
  PlanRequest request;
  request.sampler = "leftmost";
  request.num_steps = 6;
  request.temperature = "0";  // greedy: entropy 0
  request.stop = stop;
  request.max_new_tokens = 6;
  // The uniform denoiser's argmax is token 0 everywhere, whatever it is fed.
  const auto still = denoisers().make("uniform(alphabet=4, length=3)");
  const auto plan = resolve_plan(request, *still);
  const std::vector<RowInput> rows(1);
  const auto result = generate(*still, plan, rows)[0];
  EXPECT_EQ(result.steps_per_canvas.size(), 2u);
  EXPECT_EQ(result.steps_per_canvas[0], result.steps_per_canvas[1]) << stop << ": history must be cleared per canvas";
  return result.steps_per_canvas[0];
}

TEST(StopRules, FirstPossibleStopInTheEngine) {
  EXPECT_EQ(steps_until("stable_and_confident(0)"), 1);
  EXPECT_EQ(steps_until("stable_and_confident(1)"), 2);
  EXPECT_EQ(steps_until("stable_and_confident(2)"), 3);
  EXPECT_EQ(steps_until("all_of(max_steps(4), stable_and_confident(2))"), 4)
      << "a child saw the steps at which its sibling said no";
  EXPECT_EQ(steps_until("all_of(stable_and_confident(3), max_steps(1))"), 4);
  EXPECT_EQ(steps_until("never"), 6);
}

}  // namespace
}  // namespace canvaslab
