// Statistics against closed forms and against resampling.
#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "core/sources/hidden_markov.h"

namespace canvaslab {
namespace {

TEST(Statistics, MeanErrorHasTheClosedForm) {
  const std::vector<double> values = {1, 2, 3, 4};  // sum of squares 5; sqrt(5 / (4 * 3))
  const MeanError mean = mean_error(values);
  EXPECT_DOUBLE_EQ(mean.mean, 2.5);
  EXPECT_NEAR(mean.standard_error, std::sqrt(5.0 / 12), 1e-15);
  EXPECT_EQ(mean_error(std::vector<double>{7}).standard_error, 0);
}

TEST(Statistics, JensenShannonHasTheClosedForms) {
  EXPECT_DOUBLE_EQ(jensen_shannon(std::vector<double>{1, 0}, std::vector<double>{0, 1}), std::log(2));
  EXPECT_DOUBLE_EQ(jensen_shannon(std::vector<double>{.3, .7}, std::vector<double>{.3, .7}), 0);
  // p = (1, 0), q = (1/2, 1/2), middle (3/4, 1/4): 1/2 ln 4/3 + 1/2 (1/2 ln 2/3 + 1/2 ln 2).
  EXPECT_NEAR(jensen_shannon(std::vector<double>{1, 0}, std::vector<double>{.5, .5}), .5 * std::log(4.0 / 3) + .25 * std::log(2.0 / 3) + .25 * std::log(2), 1e-15);
}

TEST(Statistics, PairCountsAndConditionalEntropyHaveTheClosedForms) {
  PairCounts counts(2);
  counts.add(std::vector<int32_t>{0, 1, 0, 0});  // 01, 10, 00
  EXPECT_EQ(counts.total(), 3);
  const std::vector<double> law = counts.law(), expected = {1.0 / 3, 1.0 / 3, 1.0 / 3, 0};
  for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(law[i], expected[i]);
  EXPECT_NEAR(counts.conditional_entropy_nats(), 2.0 / 3 * std::log(2), 1e-15);
}

TEST(Statistics, JackknifeOfAMeanWithAGroupPerItemIsTheMeansError) {
  std::vector<double> values(kJackknifeGroups);
  std::vector<uint32_t> items(kJackknifeGroups);
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal(random), items[i] = static_cast<uint32_t>(i);
  // An identity of the jackknife, so only rounding separates the two.
  EXPECT_NEAR(jackknife_error(left_out_means(values, items)), mean_error(values).standard_error, 1e-12);
  // Paired: a statistic that differs by a constant has a difference without error.
  auto shifted = values;
  for (double& v : shifted) v += 3;
  EXPECT_NEAR(paired_error(left_out_means(values, items), left_out_means(shifted, items)), 0, 1e-12);
  EXPECT_GT(jackknife_error(left_out_means(values, items)), 0.05);  // the comparison above can fail
}

/// Pairs of independent uniform tokens: n chi^2 has mean K - 1 exactly (overlapping neighbours' covariances cancel when all
/// cells are equal), so the plug-in divergence has mean (K - 1) / (8 n) up to third order.
TEST(Statistics, ThePlugInBiasIsWhatItsFormulaSays) {
  constexpr int32_t V = 4;
  const std::vector<double> exact(V * V, 1.0 / (V * V));
  std::mt19937 random(2);
  constexpr int kRuns = 4000, kTokens = 401;
  std::vector<double> values;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<int32_t> tokens(kTokens);
    for (auto& token : tokens) token = static_cast<int32_t>(random() % V);
    PairCounts counts(V);
    counts.add(tokens);
    values.push_back(jensen_shannon(counts.law(), exact));
  }
  const MeanError mean = mean_error(values);
  const double bias = plugin_bias_nats(exact, kTokens - 1);
  // Four standard errors, and 2% for the next order (relative size about K / n = 0.04, a quarter of it).
  EXPECT_NEAR(mean.mean, bias, 4 * mean.standard_error + 0.02 * bias) << "seed 2";
  EXPECT_GT(std::abs(mean.mean - 2 * bias), 10 * mean.standard_error) << "a wrong constant must be seen";
}

struct Drawn {
  std::vector<std::vector<int32_t>> sequences;
  Divergence divergence;
};
Drawn draw(const HiddenMarkov& source, const std::vector<double>& off, uint64_t seed, uint32_t items) {
  Drawn out;
  std::vector<std::span<const int32_t>> spans;
  std::vector<uint32_t> index;
  for (uint32_t i = 0; i < items; ++i) out.sequences.push_back(source.sample(24, {.seed = seed, .item = i}));
  for (uint32_t i = 0; i < items; ++i) spans.emplace_back(out.sequences[i]), index.push_back(i);
  out.divergence = pair_divergence(spans, index, off, source.vocabulary());
  return out;
}

TEST(Statistics, TheJackknifeOfTheDivergenceAgreesWithResamplingAndWithReplication) {
  const HiddenMarkov source(4, 6, 1.5, 3), other(4, 6, 1.5, 4);
  const auto off = other.pair_law();  // away from 0, where the divergence is smooth
  constexpr int kRuns = 150;
  std::vector<double> values, errors;
  for (int run = 0; run < kRuns; ++run) {
    const auto drawn = draw(source, off, 100 + static_cast<uint64_t>(run), 100);
    values.push_back(drawn.divergence.value);
    errors.push_back(drawn.divergence.standard_error);
  }
  const double truth = mean_error(values).standard_error * std::sqrt(kRuns);
  const double typical = mean_error(errors).mean;
  // The spread of 150 runs is itself known to 1/sqrt(300) = 6%; the mean of 150 jackknife errors (16% each) to 1.3%. Four of the larger: 25%.
  EXPECT_NEAR(typical / truth, 1, 0.25) << "replication";
  // Bootstrap over the items of one run: the jackknife's own scatter with 20 groups is 1/sqrt(38) = 16%, three of it 50%.
  const auto one = draw(source, off, 100, 100);
  std::mt19937 random(5);
  std::vector<double> resampled;
  for (int b = 0; b < 300; ++b) {
    PairCounts counts(source.vocabulary());
    for (size_t i = 0; i < one.sequences.size(); ++i) counts.add(one.sequences[random() % one.sequences.size()]);
    resampled.push_back(jensen_shannon(counts.law(), off));
  }
  EXPECT_NEAR(one.divergence.standard_error / (mean_error(resampled).standard_error * std::sqrt(300.0)), 1, 0.5) << "bootstrap, seed 5";
}

TEST(Statistics, DetectableIsTheSumOfTheTwoNormalQuantiles) {
  EXPECT_NEAR(0.5 * std::erfc(-kZ95 / std::sqrt(2.0)), 0.975, 1e-12);
  EXPECT_NEAR(0.5 * std::erfc(-(kDetectable - kZ95) / std::sqrt(2.0)), 0.8, 1e-12);
}

}  // namespace
}  // namespace canvaslab
