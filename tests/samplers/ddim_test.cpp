// ddim: its routes against Bayes' rule by enumeration, the golden tables, and one marginal preserved.
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"
#include "core/sources/source.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::sampler_of;
using testing_support::Step;

struct Routes {
  double clean = 0, stay = 0, noise = 0;
};

/// Widths of the pieces of u on which the sampler routes position 0 to candidate, keep, noise; cuts found by bisection.
Routes routes(int32_t vocabulary, int32_t step_idx, int32_t steps, int32_t x, int32_t y) {
  const auto sampler = sampler_of("ddim");
  Step step(1);
  step.vocabulary = vocabulary;
  step.canvas[0] = x;
  step.statistics.candidate[0] = y;
  const auto action = [&](double u) {
    StepView view = step.view(step_idx, steps);
    view.given_uniform = u;
    CanvasState state;
    sampler.sampler->begin(state, 1, steps);
    StepDecision decision;
    sampler.decide(view, state, decision);
    return decision.action[0];
  };
  const auto first = [&](auto beyond) {  // smallest u whose action is beyond, 1 if none
    if (!beyond(action(1 - 1e-15))) return 1.0;
    double low = 0, high = 1;
    for (int i = 0; i < 60; ++i) (beyond(action(0.5 * (low + high))) ? high : low) = 0.5 * (low + high);
    return high;
  };
  const double not_clean = first([](Action a) { return a != Action::kCandidate; }),
               noise = first([](Action a) { return a == Action::kNoise; });
  return {not_clean, noise - not_clean, 1 - noise};
}

void expect_routes(const Routes& got, double clean, double stay, double noise, double tolerance,
                   const std::string& what) {
  EXPECT_NEAR(got.clean, clean, tolerance) << what;
  EXPECT_NEAR(got.stay, stay, tolerance) << what;
  EXPECT_NEAR(got.noise, noise, tolerance) << what;
}

TEST(Ddim, GoldenRoutingWeights) {  // tolerances: the tables' last digit
  expect_routes(routes(4, 2, 4, 0, 1), .5, .333, .167, 5e-4, "V 4, N 4, i 2, differ");
  expect_routes(routes(4, 2, 4, 1, 1), .9, .067, .033, 5e-4, "V 4, N 4, i 2, agree");
  constexpr int32_t V = 262144;
  expect_routes(routes(V, 0, 48, 0, 1), .0208, 0, .9792, 5e-5, "i 0");
  expect_routes(routes(V, 24, 48, 0, 1), .0417, .9200, .0383, 5e-5, "i 24");
  expect_routes(routes(V, 46, 48, 0, 1), .5, .4894, .0106, 5e-5, "i 46");
  expect_routes(routes(V, 47, 48, 0, 1), 1, 0, 0, 1e-15, "i 47");
  EXPECT_NEAR(routes(V, 24, 48, 3, 3).clean, 1, 1e-4) << "an agreeing candidate is kept whatever the route";
  EXPECT_EQ(routes(V, 0, 48, 3, 3).stay, 0) << "pure noise never stays";
  for (int32_t i = 0; i < 48; ++i) EXPECT_NEAR(routes(V, i, 48, 0, 1).clean, 1.0 / (48 - i), 1e-12) << "step " << i;
}

/// q(x_s | x_t = x, x_0 = y) of the uniform chain, from its definition: forward kernels and Bayes' rule.
std::vector<double> bayes(int32_t V, double at, double as, int32_t x, int32_t y) {
  const double r = at / as;
  std::vector<double> out;
  double sum = 0;
  for (int32_t u = 0; u < V; ++u) {
    const double to_s = as * (u == y) + (1 - as) / V, to_t = r * (u == x) + (1 - r) / V;
    sum += out.emplace_back(to_s * to_t);
  }
  for (double& p : out) p /= sum;
  return out;
}

TEST(Ddim, EqualsBayesRuleOverAllPairsAndSteps) {
  for (int32_t V : {2, 4})
    for (int32_t N : {1, 2, 4, 7})
      for (int32_t i = 0; i < N; ++i)
        for (int32_t x = 0; x < V; ++x)
          for (int32_t y = 0; y < V; ++y) {
            const auto expected = bayes(V, static_cast<double>(i) / N, static_cast<double>(i + 1) / N, x, y);
            const Routes got = routes(V, i, N, x, y);
            EXPECT_NEAR(got.clean + got.stay + got.noise, 1, 1e-15);
            for (int32_t u = 0; u < V; ++u)
              EXPECT_NEAR(got.clean * (u == y) + got.stay * (u == x) + got.noise / V, expected[static_cast<size_t>(u)],
                          1e-12)
                  << "V " << V << " N " << N << " step " << i << " x " << x << " y " << y << " to " << u;
          }
}

TEST(Ddim, LastStepTakesEveryCandidateAndEarlyStopsAreRefused) {
  for (int32_t N : {1, 4})
    for (int32_t y : {0, 1}) EXPECT_EQ(routes(4, N - 1, N, 0, y).clean, 1);
  const auto denoiser = denoisers().make("hmm(states=2, alphabet=3, length=4)");
  PlanRequest request;
  request.sampler = "ddim";
  request.stop = "all_of(never, stable_and_confident)";
  EXPECT_THROW(resolve_plan(request, *denoiser), UserError);
  request.stop = "all_revealed";
  EXPECT_NO_THROW(resolve_plan(request, *denoiser));
}

TEST(Ddim, GeneratedCanvasesFollowTheSourceWithinTheExactLawsOwnError) {
  // One position: with the level known the chain is exact at any N, so the generated tokens are draws of the source.
  const auto denoiser = denoisers().make("hmm(states=2, alphabet=4, length=1, sharpness=1)");
  const auto law = denoiser->source()->pair_law();
  std::vector<double> expected(4, 0.0), count(4, 0.0);
  for (size_t i = 0; i < 16; ++i) expected[i / 4] += law[i];
  PlanRequest request;
  request.sampler = "ddim";
  request.num_steps = 5;
  const auto plan = resolve_plan(request, *denoiser);
  constexpr int kDraws = 20000;
  for (int item = 0; item < kDraws; ++item) {
    std::vector<RowInput> rows(1);
    rows[0].item = static_cast<uint64_t>(item);
    ++count[static_cast<size_t>(generate(*denoiser, plan, rows)[0].canvas_ids[0])];
  }
  double chi_square = 0;
  for (size_t v = 0; v < 4; ++v) chi_square += std::pow(count[v] - kDraws * expected[v], 2) / (kDraws * expected[v]);
  EXPECT_LT(chi_square, 16.27) << "3 degrees of freedom, p = 0.001";
}

}  // namespace
}  // namespace canvaslab
