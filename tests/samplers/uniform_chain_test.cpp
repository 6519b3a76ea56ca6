// Samplers of the uniform chain: flow_matching, psi, remdm, greedy_planner, p2; routes and leave-one-out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "samplers/rules.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;

/// Shares of u in (0, 1) that send position 0 to candidate, keep, noise: midpoints of 1e5 cells, so exact to a few 1e-5.
std::vector<double> shares(const std::string& text, int32_t step_idx, int32_t steps, int32_t x, int32_t y, int32_t vocabulary = 4) {
  const auto sampler = sampler_of(text);
  Step step(1);
  step.vocabulary = vocabulary;
  step.canvas[0] = x;
  step.statistics.candidate[0] = y;
  step.knobs = sampler.knob_values({.step_idx = step_idx, .num_steps = steps});
  constexpr int kCells = 100000;
  std::vector<double> out(3, 0.0);
  StepView view = step.view(step_idx, steps);
  CanvasState state;
  StepDecision decision;
  for (int cell = 0; cell < kCells; ++cell) {
    view.given_uniform = (cell + 0.5) / kCells;
    sampler.sampler->begin(state, 1, steps);
    sampler.decide(view, state, decision);
    const Action action = decision.action[0];
    out[action == Action::kCandidate ? 0 : action == Action::kKeep ? 1 : 2] += 1.0 / kCells;
  }
  return out;
}
void expect_shares(const std::vector<double>& got, double candidate, double keep, double noise, const std::string& what) {
  EXPECT_NEAR(got[0], candidate, 5e-5) << what;
  EXPECT_NEAR(got[1], keep, 5e-5) << what;
  EXPECT_NEAR(got[2], noise, 5e-5) << what;
}

TEST(Path, GivesTheLevelsBetweenItsFixedEnds) {
  const auto levels = [](const std::string& text, int32_t steps) {
    const auto sampler = sampler_of(text);
    std::vector<double> out;
    for (int32_t i = 0; i <= steps; ++i) out.push_back(noise_level(*sampler.sampler, i, steps));
    return out;
  };
  EXPECT_THAT(levels("ddim", 4), ElementsAre(0, 0.25, 0.5, 0.75, 1));
  EXPECT_THAT(levels("ddim(linear)", 4), ElementsAre(0, 0.25, 0.5, 0.75, 1));
  EXPECT_THAT(levels("psi(0.5, path=cosine(0, 1))", 4), ElementsAre(0, DoubleNear(std::pow(std::sin(M_PI / 8), 2), 1e-9), DoubleNear(0.5, 1e-9), DoubleNear(std::pow(std::cos(M_PI / 8), 2), 1e-9), 1));
  EXPECT_THAT(levels("ddim(geometric_level)", 2), ElementsAre(0, DoubleNear(std::exp(-std::sqrt(20e-4)), 1e-6), 1)) << "its own ends are near 0 and 1";
  EXPECT_THAT(levels("remdm(loop)", 20), Contains(DoubleNear(0.9, 1e-9)).Times(11)) << "from progress 0.45 to 0.95";
  EXPECT_EQ(sampler_of("ddim").canonical, "ddim") << "what was stored before there were paths keeps its name";
  EXPECT_EQ(sampler_of("loo_corrector(ddim(sine))").sampler->path(0.5), std::sin(M_PI / 4));
}

TEST(Remdm, TheLoopCorruptsWhereTheLevelIsHeldOnly) {
  Step step(1);
  step.vocabulary = 4;
  step.canvas[0] = 0, step.statistics.candidate[0] = 1;
  const auto sampler = sampler_of("remdm(loop, 0.05)");
  step.knobs = {0.05};
  const auto noise_share = [&](double now, double next) {
    int noise = 0;
    for (int cell = 0; cell < 10000; ++cell) {
      StepView view = step.view(3, 9);
      view.level_now = now, view.level_next = next, view.given_uniform = (cell + 0.5) / 10000;
      CanvasState state;
      StepDecision decision;
      sampler.sampler->begin(state, 1, 9);
      sampler.decide(view, state, decision);
      noise += decision.action[0] == Action::kNoise;
    }
    return noise / 10000.0;
  };
  // Held at 0.9: kappa = 1 - 0.05 / 0.1, and the corrector leaves noise at a rate of 0.1; the reverse kernel stays.
  EXPECT_NEAR(noise_share(0.9, 0.9), 0.5 * 0.1, 1e-3);
  const Routes moving = posterior_routes(0.8, 0.9, false, 4);
  EXPECT_NEAR(noise_share(0.8, 0.9), moving.noise / moving.sum(), 1e-3) << "plain ddim";
}

TEST(FlowMatching, RatesAreThoseOfTheFormula) {
  for (int32_t i = 0; i < 6; ++i) {
    expect_shares(shares("flow_matching", i, 6, 0, 1), 1.0 / (6 - i), 1 - 1.0 / (6 - i), 0, "c = 0: take or stay");
    if (i == 5) continue;
    const double up = (i == 0 ? 1.0 : 1.2) / (6 - i), down = i == 0 ? 0 : 0.2 / i;
    expect_shares(shares("flow_matching(0.2)", i, 6, 0, 1), up, 1 - up - down, down, "c = 0.2");
  }
  expect_shares(shares("flow_matching(9)", 2, 6, 0, 1), 10.0 / 4 / (10.0 / 4 + 9.0 / 2), 0, 4.5 / 7, "scaled down to 1");
  expect_shares(shares("flow_matching(9)", 5, 6, 0, 1), 1, 0, 0, "the last step leaves no noise");
}

TEST(Psi, IsTheMixtureOfItsTwoKernels) {
  for (int32_t i = 0; i < 5; ++i)
    for (int32_t y : {0, 1})
      for (double kappa : {0.0, 0.3, 1.0}) {
        const double next = (i + 1) / 5.0;
        const Routes r = posterior_routes(i / 5.0, next, y == 0, 4);
        const double last = i == 4;
        expect_shares(shares(fmt::format("psi({})", kappa), i, 5, 0, y), last ? 1 : kappa * r.clean / r.sum() + (1 - kappa) * next,
                      last ? 0 : kappa * r.stay / r.sum(), last ? 0 : kappa * r.noise / r.sum() + (1 - kappa) * (1 - next),
                      fmt::format("kappa {} step {} y {}", kappa, i, y));
      }
}

TEST(Psi, KappaOneIsDdimDrawForDrawAndZeroForgetsTheToken) {
  std::mt19937 engine(21);
  for (int trial = 0; trial < 50; ++trial) {
    Step step(1 + engine() % 50, engine);
    CanvasState a, b;
    const int32_t i = static_cast<int32_t>(engine() % 6);
    EXPECT_EQ(decide(sampler_of("psi(1)"), step, a, i, 6).action, decide(sampler_of("ddim"), step, b, i, 6).action) << "seed 21";
    const auto before = decide(sampler_of("psi(0)"), step, a, i, 6).action;
    for (auto& token : step.canvas) token = 0;
    EXPECT_EQ(decide(sampler_of("psi(0)"), step, a, i, 6).action, before);
  }
}

TEST(Remdm, RatesStayInTheirBoundsAndZeroIsDdim) {
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(shares("remdm(eta=0)", i, 5, 0, 1), shares("ddim", i, 5, 0, 1));
    const double now = i / 5.0, next = (i + 1) / 5.0, largest = i == 0 ? 1 : std::min(1.0, (1 - next) / now);
    for (double eta : {0.01, 0.1, 1.0})
      for (const char* rate : {"cap", "rescale"}) {
        const double sigma = std::string(rate) == "cap" ? std::min(eta, largest) : eta * largest;
        const double kappa = std::clamp(1 - sigma / (1 - next), 0.0, 1.0);
        EXPECT_EQ(shares(fmt::format("remdm({}, {})", rate, eta), i, 5, 0, 1), shares(fmt::format("psi({})", kappa), i, 5, 0, 1)) << rate << eta << " step " << i;
      }
  }
}

TEST(Remdm, ConfidenceCorruptsDoubtfulTokensMore) {
  const auto sampler = sampler_of("remdm(cap, 1, confidence=on)");
  const auto plain = sampler_of("ddim");
  std::vector<double> noised(3, 0.0), by_ddim(3, 0.0);
  for (uint64_t draw = 0; draw < 20000; ++draw) {
    Step step(3);
    step.canvas = {1, 2, 3}, step.statistics.candidate = {1, 2, 3};
    step.draws = {.seed = 5, .item = draw};
    CanvasState state;
    sampler.sampler->begin(state, 3, 10);
    state.scratch = {0.1, 0.95, INFINITY};  // taken in doubt, taken surely, never taken
    const auto a = decide(sampler, step, state, 5, 10).action;
    CanvasState none;
    const auto b = decide(plain, step, none, 5, 10).action;
    for (size_t p = 0; p < 3; ++p) noised[p] += a[p] == Action::kNoise, by_ddim[p] += b[p] == Action::kNoise;
  }
  EXPECT_GT(noised[0], 1.3 * noised[1]) << "seed 5";
  EXPECT_GT(noised[1], 3 * by_ddim[1] + 100);
  EXPECT_EQ(noised[2], by_ddim[2]) << "what was never taken follows ddim";
}

TEST(GreedyPlanner, TakesItsBudgetOfTheMostConfidentEligibleAndNoOther) {
  std::mt19937 engine(31);
  for (int trial = 0; trial < 200; ++trial) {
    const Step step(1 + engine() % 60, engine);
    const int32_t i = static_cast<int32_t>(engine() % 7);
    CanvasState state;
    const auto decision = decide(sampler_of("greedy_planner"), step, state, i, 8);
    size_t eligible = 0;
    float worst_taken = 1, best_left = -1e9f;
    size_t clean = 0;
    for (size_t p = 0; p < step.canvas.size(); ++p) {
      const bool able = step.allowed[p] && step.statistics.candidate[p] != step.canvas[p];
      eligible += able;
      const bool took = decision.action[p] == Action::kCandidate;
      EXPECT_FALSE(took && !able) << "position " << p << " seed 31 trial " << trial;
      clean += took;
      if (took) worst_taken = std::min(worst_taken, step.statistics.candidate_logprob[p]);
      else if (able) best_left = std::max(best_left, step.statistics.candidate_logprob[p]);
    }
    EXPECT_EQ(clean, eligible / static_cast<size_t>(8 - i)) << "0 is legal";
    EXPECT_GE(worst_taken, best_left);
    CanvasState last;
    EXPECT_EQ(taken(decide(sampler_of("greedy_planner"), step, last, 7, 8)).size(), step.canvas.size());
  }
}

TEST(GreedyPlanner, TheOthersStayOrGoToNoiseAsInDdim) {
  // One eligible position in three steps: budget 0, and the two other routes in the ratio r (1 - s) : (1 - r)(1 - s).
  const auto got = shares("greedy_planner", 1, 3, 0, 1);
  expect_shares(got, 0, 0.5, 0.5, "r = 1/2");
  const Routes agree = posterior_routes(1 / 3.0, 2 / 3.0, true, 4);
  expect_shares(shares("greedy_planner", 1, 3, 1, 1), 0, (agree.clean + agree.stay) / agree.sum(), agree.noise / agree.sum(), "agreeing");
}

TEST(P2, RenoisesExactlyItsScheduleAndRanksByLogProbability) {
  std::mt19937 engine(41);
  for (const char* text : {"p2", "p2(eta=3)", "p2(eta=0)", "p2(exponent=2)"}) {
    const auto sampler = sampler_of(text);
    for (int trial = 0; trial < 30; ++trial) {
      const Step pins(1 + engine() % 50, engine);
      CanvasState state;
      for (int32_t i = 0; i < 6; ++i) {
        Step step(pins.canvas.size(), engine);
        step.allowed = pins.allowed;
        const auto before = state.scratch.empty() ? std::vector<double>(step.canvas.size(), 0.0) : state.scratch;
        const auto decision = decide(sampler, step, state, i, 6);
        size_t noise = 0, free = num_allowed(step.view(i, 6));
        for (size_t p = 0; p < step.canvas.size(); ++p) {
          noise += decision.action[p] == Action::kNoise;
          if (before[p] != 0) {
            EXPECT_NE(decision.action[p], Action::kCandidate) << "what was planned in stays or goes";
          }
        }
        const size_t k = std::string(text) == "p2(exponent=2)" ? 36 - static_cast<size_t>((i + 1) * (i + 1)) : 36 - 6 * static_cast<size_t>(i + 1);
        EXPECT_EQ(noise, free * k / 36) << text << " step " << i << " seed 41 trial " << trial;
      }
    }
  }
  Step step(4);
  step.statistics.candidate_logprob = {-1, -2, -3, -4};
  step.statistics.current_logprob = {-9, -9, -9, -9};
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler_of("p2"), step, state, 0, 2)), ElementsAre(0, 1));
  step.statistics.current_logprob = {-5, -1, -9, -9};  // position 0 loses to 2 at eta 1
  const auto again = decide(sampler_of("p2"), step, state, 0, 2);
  EXPECT_EQ(again.action, (std::vector<Action>{Action::kNoise, Action::kKeep, Action::kCandidate, Action::kNoise}));
}

TEST(LeaveOneOut, EqualsRemovingTheEvidenceOfTheObservedToken) {
  EXPECT_NEAR(std::exp(leave_one_out_logprob(std::log(.999), .5, 262144)), .0038, 5e-5);  // samplers.md 4.8
  EXPECT_NEAR(std::exp(leave_one_out_logprob(std::log(.999999), .5, 262144)), .79, 5e-3);
  std::mt19937 engine(51);
  std::uniform_real_distribution<double> unit(0.01, 0.99);
  for (int trial = 0; trial < 100; ++trial) {  // Bayes: p(v) = loo(v) q(x | v) / sum, q(x | v) = a [x = v] + (1 - a) / V
    const double a = unit(engine);
    std::vector<double> loo(5), p(5);
    double sum = 0, total = 0;
    for (double& v : loo) sum += v = unit(engine);
    for (size_t v = 0; v < 5; ++v) total += p[v] = loo[v] / sum * (a * (v == 2) + (1 - a) / 5);
    EXPECT_NEAR(std::exp(leave_one_out_logprob(std::log(p[2] / total), a, 5)), loo[2] / sum, 1e-12) << "seed 51 trial " << trial;
  }
  EXPECT_EQ(leave_one_out_logprob(0, 1, 10), 0);
  EXPECT_EQ(leave_one_out_logprob(std::log(.5), 1, 10), -INFINITY) << "at level 1 the token is all the evidence there is";
}

}  // namespace
}  // namespace canvaslab
