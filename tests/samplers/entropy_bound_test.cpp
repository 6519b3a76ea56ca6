// entropy_bound: every property of its row in the test oracle list.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "core/denoiser.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;

Step with_entropies(std::vector<float> entropy) {
  Step step(entropy.size());
  step.statistics.entropy_nats = std::move(entropy);
  return step;
}
std::vector<size_t> accepted(const Step& step, const std::string& bound) {
  CanvasState state;
  return taken(decide(sampler_of("entropy_bound(" + bound + ")"), step, state));
}

TEST(EntropyBound, GoldenExample) {  // order 3, 1, 5, 4; the next would make 0.11 of entropy before it
  EXPECT_THAT(accepted(with_entropies({.5f, .02f, .09f, 0, .06f, .03f}), "0.1"), ElementsAre(1, 3, 4, 5));
}

TEST(EntropyBound, EqualEntropiesTakeFloorOfBoundOverEntropyPlusOne) {
  for (float h : {0.03f, 0.07f, 0.011f, 0.4f})  // no exact divisors of the bound
    for (size_t length : {1u, 3u, 12u, 300u}) {
      const size_t expected = std::min<size_t>(length, static_cast<size_t>(0.1 / h) + 1);
      std::vector<size_t> first(expected);
      std::iota(first.begin(), first.end(), size_t{0});
      EXPECT_EQ(accepted(with_entropies(std::vector<float>(length, h)), "0.1"), first)
          << "h " << h << ": ties go to the lower position";
    }
}

TEST(EntropyBound, BoundsAtTheirLimits) {
  const auto step = with_entropies({.5f, 0, .09f, 0, .06f, 0});
  EXPECT_THAT(accepted(step, "0"), ElementsAre(1, 3, 4, 5)) << "all zeros and one more: the sum before it is 0";
  EXPECT_EQ(accepted(step, "inf").size(), 6u);
  EXPECT_THAT(accepted(with_entropies({3, 2, 5}), "0"), ElementsAre(1)) << "at least one";
}

TEST(EntropyBound, IsAPrefixNestedInTheBoundAndAgreesWithTheExclusiveSum) {
  std::mt19937 engine(11);
  for (int trial = 0; trial < 300; ++trial) {
    Step step(1 + engine() % 300, engine);
    for (size_t p = 0; p < step.canvas.size(); p += 3) step.statistics.entropy_nats[p] = 0;  // ties
    std::fill(step.allowed.begin(), step.allowed.end(), 1);
    std::vector<size_t> order(step.canvas.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto& h = step.statistics.entropy_nats;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return h[a] < h[b]; });
    size_t before = 0;
    for (const char* bound : {"0", "0.01", "0.1", "0.5", "3", "inf"}) {
      const auto got = accepted(step, bound);
      ASSERT_GE(got.size(), std::max<size_t>(1, before)) << "not monotone in the bound; trial " << trial;
      before = got.size();
      std::vector<size_t> prefix(order.begin(), order.begin() + static_cast<ptrdiff_t>(got.size()));
      std::sort(prefix.begin(), prefix.end());
      ASSERT_EQ(got, prefix) << "not a prefix of (entropy, position) order; trial " << trial;
      // The exclusive sum in f64. Both round: n terms up to 0.2 in f32 sums, so within 1e-5 of the bound either may
      // hold.
      double sum = 0;
      const double limit = std::string(bound) == "inf" ? INFINITY : std::stod(bound);
      for (size_t k = 0; k < order.size(); sum += h[order[k++]]) {
        if (std::abs(sum - limit) < 1e-5) continue;
        ASSERT_EQ(k < got.size(), sum < limit) << "position " << order[k] << ", bound " << bound << ", trial " << trial;
      }
    }
  }
}

TEST(EntropyBound, PinnedPositionsUseUpNoBound) {
  auto step = with_entropies({.09f, .02f, .05f, .06f});
  step.allowed[1] = step.allowed[2] = 0;
  EXPECT_THAT(accepted(step, "0.1"), ElementsAre(0, 3));
  EXPECT_THAT(accepted(step, "0"), ElementsAre(3))
      << "at least one open position, though a pinned one has less entropy";
}

TEST(EntropyBound, UnacceptedPositionsAreUniformOverTheVocabulary) {
  const auto denoiser =
      denoisers().make("uniform(alphabet=8, length=64)");  // entropy ln 8 everywhere: one is taken a step
  PlanRequest request;
  request.sampler = "entropy_bound(0)";
  request.emission = "canvas";
  request.num_steps = 1;
  request.temperature = "1";
  const auto plan = resolve_plan(request, *denoiser);
  std::vector<double> count(8, 0.0);
  for (uint64_t item = 0; item < 500; ++item) {
    std::vector<RowInput> rows(1);
    rows[0].item = item;
    const auto ids = generate(*denoiser, plan, rows)[0].canvas_ids;
    for (size_t p = 1; p < ids.size(); ++p) ++count[static_cast<size_t>(ids[p])];  // position 0 is the accepted one
  }
  const double expected = 500.0 * 63 / 8;
  double chi_square = 0;
  for (double c : count) chi_square += (c - expected) * (c - expected) / expected;
  EXPECT_LT(chi_square, 24.3) << "7 degrees of freedom, p = 0.001";
  EXPECT_GT(chi_square, 0.6) << "7 degrees of freedom, p = 0.999: too even to be draws";
}

TEST(EntropyBound, PeaksOfTheReferencesTestTakeOneMoreTokenAtALargerBound) {
  // Single peaks at V = 10000: gap 18 -> .0029 nats, 14.5 -> .0778 (closed form ln Z + g (V-1) e^-g / Z).
  const auto entropy = [](double g) {
    const double rest = 9999 * std::exp(-g), z = 1 + rest;
    return std::log(z) + g * rest / z;
  };
  EXPECT_NEAR(entropy(18), 0.0029, 1e-4);
  EXPECT_NEAR(entropy(14.5), 0.0778, 1e-4);
  const auto step = with_entropies(
      {static_cast<float>(entropy(14.5)), static_cast<float>(entropy(18)), static_cast<float>(entropy(14.5)), 9});
  EXPECT_THAT(accepted(step, "0.01"), ElementsAre(0, 1));
  EXPECT_THAT(accepted(step, "0.1"), ElementsAre(0, 1, 2));
}

TEST(EntropyBound, KnobFollowsItsScheduleOverTheRampNotTheStepLimit) {
  const auto sampler = sampler_of("entropy_bound(entropy_bound=linear(0, 0.3))");
  EXPECT_EQ(sampler.knob_values({.step_idx = 5, .num_steps = 10})[0], 0.15);
  EXPECT_THROW(sampler_of("entropy_bound(entropy_bound=linear(-0.1, 0.3))"), UserError);
}

}  // namespace
}  // namespace canvaslab
