// The exact propagation of a sampler's law: against brute force, and against the figures of the reference chain.
#include "eval/exact_law.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/table_source.h"

namespace canvaslab {
namespace {

using testing_support::ChainDenoiser;
using testing_support::reference_chain;

std::vector<double> law(const Denoiser& denoiser, const std::string& sampler, int32_t steps,
                        const std::string& temperature, const std::string& emission) {
  PlanRequest request;
  request.sampler = sampler;
  request.stop = "never";
  request.num_steps = steps;
  request.temperature = temperature;
  request.emission = emission;
  return exact_law(denoiser, resolve_plan(request, denoiser));
}

double sum(const std::vector<double>& p) {
  double total = 0;
  for (double x : p) total += x;
  return total;
}

TEST(ExactLaw, IndexAndSourceLaw) {
  EXPECT_EQ(canvas_of_index(27, 3, 4), (std::vector<int32_t>{1, 2, 3}));
  const auto chain = reference_chain();
  const auto p = source_law(chain, 6);
  EXPECT_NEAR(sum(p), 1, 1e-12);
  EXPECT_NEAR(law_entropy(p) / 6, 0.7268124428957208, 1e-10) << "worked out from the transition matrix with numpy";
}

TEST(ExactLaw, DivergencesOnPaper) {
  const std::vector<double> p = {0.5, 0.5, 0}, q = {0.25, 0.25, 0.5};
  EXPECT_DOUBLE_EQ(total_variation(p, q), 0.5);
  EXPECT_DOUBLE_EQ(kl_divergence(p, q), std::log(2));
  EXPECT_EQ(kl_divergence(q, p), INFINITY);
  EXPECT_DOUBLE_EQ(law_entropy(p), std::log(2));
}

TEST(ExactLaw,
     AgreesWithGeneratedCanvases) {  // every sampler that can be propagated, with annealing and both emissions
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=3, length=3, sharpness=1)");
  for (const char* sampler : {"entropy_bound(0.8)", "ddim"})
    for (const char* emission : {"argmax", "canvas"}) {
      PlanRequest request;
      request.sampler = sampler;
      request.stop = "never";
      request.num_steps = 3;
      request.temperature = "linear(1.2, 0.6)";
      request.emission = emission;
      const auto plan = resolve_plan(request, *denoiser);
      const auto expected = exact_law(*denoiser, plan);
      EXPECT_NEAR(sum(expected), 1, 1e-9);
      constexpr int kDraws = 20000;
      std::vector<double> count(27, 0.0);
      for (int item = 0; item < kDraws; ++item) {
        std::vector<RowInput> rows(1);
        rows[0].item = static_cast<uint64_t>(item);
        rows[0].seed = 3;
        const auto ids = generate(*denoiser, plan, rows)[0].canvas_ids;
        ++count[static_cast<size_t>(ids[0] * 9 + ids[1] * 3 + ids[2])];
      }
      double chi_square = 0, rare = 0, rare_count = 0;
      int cells = -1;
      for (size_t i = 0; i < 27; ++i) {
        if (kDraws * expected[i] < 5) {
          rare += expected[i], rare_count += count[i];
          continue;
        }
        ++cells;
        chi_square += std::pow(count[i] - kDraws * expected[i], 2) / (kDraws * expected[i]);
      }
      if (kDraws * rare >= 5) {
        chi_square += std::pow(rare_count - kDraws * rare, 2) / (kDraws * rare);
        ++cells;
      } else {
        EXPECT_LT(rare_count, 25) << sampler << ", emission " << emission;
      }
      // Wilson-Hilferty's value of the chi-square quantile at p = 0.0005: four comparisons, 0.002 together.
      const double n = cells, limit = n * std::pow(1 - 2 / (9 * n) + 3.29 * std::sqrt(2 / (9 * n)), 3);
      EXPECT_LT(chi_square, limit) << sampler << ", emission " << emission << ", " << cells << " degrees of freedom";
    }
}

TEST(ExactLaw, DdimWithAKnownLevelConvergesAndWithoutStalls) {  // samplers.md 14.2: K 4, L 6; figures to three digits
  const ChainDenoiser known(reference_chain(), 6, true), unknown(reference_chain(), 6, false);
  const auto source = source_law(reference_chain(), 6);
  const auto tv = [&](const Denoiser& denoiser, int32_t steps) {
    return total_variation(law(denoiser, "ddim", steps, "1", "canvas"), source);
  };
  EXPECT_NEAR(tv(known, 4), 0.335, 6e-4);
  const auto sixteen = law(known, "ddim", 16, "1", "canvas");
  EXPECT_NEAR(total_variation(sixteen, source), 0.069, 6e-4);
  EXPECT_NEAR(cross_entropy(sixteen, source) / 6, 0.788, 6e-4) << "as good as entropy_bound's 0.783, which is three times as far away";
  EXPECT_NEAR(tv(known, 64), 0.016, 6e-4);
  EXPECT_NEAR(tv(unknown, 4), 0.533, 6e-4);
  EXPECT_NEAR(tv(unknown, 16), 0.311, 6e-4);
  EXPECT_NEAR(tv(unknown, 64), 0.230, 6e-4);
  PlanRequest withheld;
  withheld.sampler = "ddim", withheld.stop = "never", withheld.num_steps = 4, withheld.temperature = "1", withheld.emission = "canvas", withheld.noise_level = "withheld";
  EXPECT_EQ(exact_law(known, resolve_plan(withheld, known)), law(unknown, "ddim", 4, "1", "canvas")) << "withheld from a denoiser that would use it";
}

TEST(ExactLaw, EntropyBoundBeatsTheSourceInLikelihoodAndIsFarFromItsLaw) {  // samplers.md 14.1
  const ChainDenoiser unknown(reference_chain(), 6, false);
  const auto source = source_law(reference_chain(), 6);
  const auto written = law(unknown, "entropy_bound(0.1)", 48, "linear_remaining(0.4, 0.8)", "argmax");
  EXPECT_NEAR(cross_entropy(written, source) / 6, 0.595, 6e-4);
  EXPECT_NEAR(law_entropy(written) / 6, 0.548, 6e-4);
  EXPECT_NEAR(total_variation(written, source), 0.301, 6e-4);
}

TEST(ExactLaw, LikelihoodDoesNotTellASamplerThatIsThreeTimesAsFarAway) {  // samplers.md 14.1, at 16 steps; ddim's figures are above
  const ChainDenoiser unknown(reference_chain(), 6, false);
  const auto source = source_law(reference_chain(), 6);
  const auto written = law(unknown, "entropy_bound(0.1)", 16, "linear_remaining(0.4, 0.8)", "argmax");
  EXPECT_NEAR(cross_entropy(written, source) / 6, 0.783, 6e-4);
  EXPECT_NEAR(total_variation(written, source), 0.219, 6e-4);
}

TEST(ExactLaw, TheNoiseCanvasIsASharedSeed) {  // samplers.md 14.3: one forward, outside the scope of commit-once plans
  const ChainDenoiser unknown(reference_chain(), 6, false);
  const auto source = source_law(reference_chain(), 6);
  const auto written = law(unknown, "entropy_bound(0.1)", 1, "linear_remaining(0.4, 0.8)", "argmax");
  EXPECT_NEAR(total_variation(written, source), 0.424, 6e-4);
  EXPECT_NEAR(kl_divergence(written, source) / 6, 0.142, 6e-4);
  EXPECT_EQ(kl_divergence(source, written), INFINITY);
  double never_written = 0;
  for (size_t i = 0; i < source.size(); ++i) never_written += written[i] == 0 ? source[i] : 0;
  EXPECT_NEAR(never_written, 0.024, 6e-4);
}

TEST(ExactLaw, OnePositionIsExactAtAnyNumberOfSteps) {
  const ChainDenoiser known(reference_chain(), 1, true);
  const auto source = source_law(reference_chain(), 1);
  for (int32_t steps : {1, 2, 7})
    EXPECT_LT(total_variation(law(known, "ddim", steps, "1", "canvas"), source), 2e-6) << "logits are f32";
  EXPECT_GT(total_variation(law(known, "ddim", 4, "0.5", "canvas"), source), 0.01)
      << "a temperature breaks it: the comparison can fail";
}

TEST(ExactLaw, RefusesWhatItCannotPropagate) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=4, length=7)");
  PlanRequest request;
  request.stop = "never";
  EXPECT_THROW(exact_law(*denoiser, resolve_plan(request, *denoiser)), UserError) << "4^7 canvases";
  request.canvas_length = 3;
  request.sampler = "fixed_step";
  EXPECT_THROW(exact_law(*denoiser, resolve_plan(request, *denoiser)), UserError) << "keeps state";
  request.sampler = "entropy_bound";
  request.stop = "entropy";
  EXPECT_THROW(exact_law(*denoiser, resolve_plan(request, *denoiser)), UserError) << "stops";
  request.stop = "never";
  request.rng = RngMode::kTorch;
  EXPECT_THROW(exact_law(*denoiser, resolve_plan(request, *denoiser)), UserError) << "torch order";
}

}  // namespace
}  // namespace canvaslab
