// ddim_integrated: its law against the average of ddim's over the clean token, and temperature on the leave-one-out law.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "samplers/rules.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::sampler_of;
using testing_support::Step;
constexpr int kV = 4;
using Law = std::array<double, kV>;

/// Law of the next token at one position whose denoiser says `p` at the step's temperature; the other token's draw is
/// integrated over. Midpoints of 2e4 cells: exact to 1e-4.
Law written(const Law& p, int32_t x, int32_t step_idx, int32_t steps, float temperature) {
  const auto sampler = sampler_of("ddim_integrated");
  Step step(1);
  step.vocabulary = kV;
  step.canvas[0] = x;
  const auto at_x = static_cast<size_t>(x);
  step.statistics.current_logprob[0] = static_cast<float>(std::log(p[at_x]));
  step.statistics.alternative[0] = (x + 1) % kV;
  StepView view = step.view(step_idx, steps);
  view.temperature = temperature;
  CanvasState state;
  StepDecision decision;
  constexpr int kCells = 20000;
  Law out{};
  for (int cell = 0; cell < kCells; ++cell) {
    view.given_uniform = (cell + 0.5) / kCells;
    sampler.sampler->begin(state, 1, steps);
    sampler.decide(view, state, decision);
    for (size_t u = 0; u < kV; ++u) {
      if (decision.action[0] == Action::kKeep) out[u] += static_cast<double>(u == at_x) / kCells;
      if (decision.action[0] == Action::kNoise) out[u] += 1.0 / kV / kCells;
      if (decision.action[0] == Action::kToken && u != at_x) out[u] += p[u] / (1 - p[at_x]) / kCells;
    }
  }
  return out;
}

TEST(DdimIntegrated, IsDdimAveragedOverTheCleanToken) {
  const Law p = {0.5, 0.2, 0.05, 0.25};
  for (int32_t i = 0; i < 5; ++i)
    for (int32_t x = 0; x < kV; ++x) {
      Law expected{};
      for (int32_t y = 0; y < kV; ++y) {  // q(u | x, y) p(y), by Bayes
        const double now = i / 5.0, next = (i + 1) / 5.0, r = now / next;
        const auto forward = [](double keep, int32_t from, int32_t to) { return keep * (from == to) + (1 - keep) / kV; };
        for (int32_t u = 0; u < kV; ++u)
          expected[static_cast<size_t>(u)] += p[static_cast<size_t>(y)] * forward(next, y, u) * forward(r, u, x) / forward(now, y, x);
      }
      const Law got = written(p, x, i, 5, 1);
      for (size_t u = 0; u < kV; ++u) EXPECT_NEAR(got[u], expected[u], 2e-4) << "step " << i << ", canvas token " << x << ", next " << u;
    }
}

TEST(DdimIntegrated, TemperatureSharpensWhatTheOthersSay) {
  const double now = 0.4, next = 0.6, r = now / next, ratio = 1 + kV * now / (1 - now);
  const Law others = {0.1, 0.2, 0.6, 0.1};  // leave-one-out law
  for (const double t : {0.5, 2.0}) {
    const size_t x = 1;
    Law sharp{}, seen{};
    double sum = 0, seen_sum = 0;
    for (size_t v = 0; v < kV; ++v) {
      sum += sharp[v] = std::pow(others[v], 1 / t);
      seen_sum += seen[v] = std::pow(others[v] * (v == x ? ratio : 1), 1 / t);  // the denoiser's law at this temperature
    }
    Law expected{};
    double total = 0;
    for (size_t v = 0; v < kV; ++v) sharp[v] /= sum, seen[v] /= seen_sum;
    for (size_t u = 0; u < kV; ++u) total += expected[u] = (next - now) * sharp[u] + (1 - r) * (1 - next) / kV + (u == x) * (kV * now * sharp[x] + r - now);
    const Law got = written(seen, 1, 2, 5, static_cast<float>(t));
    for (size_t u = 0; u < kV; ++u) EXPECT_NEAR(got[u], expected[u] / total, 2e-4) << "temperature " << t << ", next " << u;
  }
}

TEST(DdimIntegrated, LastStepIsTheCleanTokenAndCertaintyIsKept) {
  const Law p = {0.5, 0.2, 0.05, 0.25}, got = written(p, 0, 4, 5, 1);
  for (size_t u = 0; u < kV; ++u) EXPECT_NEAR(got[u], p[u], 2e-4) << "at level 1 next to exact candidates: their own law";
  EXPECT_NEAR(written({0, 1, 0, 0}, 1, 2, 5, 1)[1], 1, 0.12) << "noise is all that can move it";
}

}  // namespace
}  // namespace canvaslab
