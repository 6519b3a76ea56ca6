// Intervals and paired tests against closed forms, enumeration, simulation and scipy.
#include "eval/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "eval/statistics.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

TEST(Wilson, HasThePublishedValuesAndSolvesItsEquation) {
  // evaluation.md 1.6: GPQA 73.2 of 198 -> [66.7, 78.9].
  const Interval gpqa = wilson_interval(145, 198);
  EXPECT_NEAR(gpqa.low, 0.667, 5e-4);
  EXPECT_NEAR(gpqa.high, 0.789, 5e-4);
  // Its ends are the shares q at which |p - q| = z sqrt(q (1 - q) / n).
  for (const double q : {gpqa.low, gpqa.high}) EXPECT_NEAR(std::abs(145.0 / 198 - q), kZ95 * std::sqrt(q * (1 - q) / 198), 1e-14);
  EXPECT_EQ(wilson_interval(0, 10).low, 0);
  EXPECT_EQ(wilson_interval(10, 10).high, 1);
  EXPECT_NEAR(wilson_interval(0, 10).high, kZ95 * kZ95 / (10 + kZ95 * kZ95), 1e-15);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(McNemarTest, EqualsTheBinomialByHand) {
  // 1 against 8: 2 (C(9,0) + C(9,1)) / 2^9 = 20/512; mid-p takes one C(9,1)/2^9 off: 11/512.
  EXPECT_NEAR(mcnemar_test(1, 8).exact, 20.0 / 512, 1e-14);
  EXPECT_NEAR(mcnemar_test(8, 1).mid_p, 11.0 / 512, 1e-14);
  EXPECT_EQ(mcnemar_test(3, 3).exact, 1);
  EXPECT_NEAR(mcnemar_test(3, 3).mid_p, 1 - 20.0 / 64, 1e-14);
  EXPECT_EQ(mcnemar_test(0, 0).exact, 1);
  EXPECT_NEAR(mcnemar_test(0, 5000).exact, 0, 1e-300);  // no overflow on the way
}

TEST(Holm, StepsDownAndStaysMonotone) {
  const auto adjusted = holm_adjusted(std::vector<double>{0.04, 0.01, std::nan(""), 0.03, 0.5});
  const std::vector<double> expected = {0.09, 0.04, 0, 0.09, 0.5};  // 0.01 * 4; 0.03 * 3; max(0.09, 0.04 * 2); 0.5
  for (size_t i : {0u, 1u, 3u, 4u}) EXPECT_NEAR(adjusted[i], expected[i], 1e-15) << i;
  EXPECT_TRUE(std::isnan(adjusted[2]));
}

TEST(StudentT, HasTheClosedFormsOfOneAndTwoDegrees) {
  for (const double t : {-50.0, -3.0, -0.2, 0.0, 0.7, 12.0}) {
    EXPECT_NEAR(student_t_cdf(t, 1), 0.5 + std::atan(t) / M_PI, 1e-14) << t;
    EXPECT_NEAR(student_t_cdf(t, 2), 0.5 + t / (2 * std::sqrt(2 + t * t)), 1e-14) << t;
  }
  EXPECT_NEAR(student_t_cdf(kZ95, 1e7), 0.975, 1e-7);  // the normal law up to O(1 / degrees)
}

TEST(SignFlip, EnumeratesFewItemsAndDrawsForMany) {
  // All of one sign: only the two extreme assignments are as far out.
  EXPECT_DOUBLE_EQ(sign_flip_test(std::vector<double>{1, 2, 3, 0, 0}, 1), 2.0 / 8);
  EXPECT_DOUBLE_EQ(sign_flip_test(std::vector<double>{0.1, -0.1}, 1), 1);
  EXPECT_DOUBLE_EQ(sign_flip_test(std::vector<double>{0, 0}, 1), 1);
  // 20 equal differences, 15 up and 5 down: exactly McNemar's p of (5, 15); four standard errors of 10,000 draws.
  std::vector<double> flips(20, 1);
  std::fill(flips.begin(), flips.begin() + 5, -1);
  const double exact = mcnemar_test(5, 15).exact;
  EXPECT_NEAR(sign_flip_test(flips, 7), exact, 4 * std::sqrt(exact * (1 - exact) / 1e4) + 1e-4);
  EXPECT_EQ(sign_flip_test(flips, 7), sign_flip_test(flips, 7));
}

TEST(Bootstrap, IsSeededAndHasTheErrorOfTheMean) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal(0.3, 1);
  std::vector<double> values(400);
  for (double& v : values) v = normal(random);
  const Interval one = bootstrap_interval(values, 1), again = bootstrap_interval(values, 1), other = bootstrap_interval(values, 2);
  EXPECT_EQ(one.low, again.low);
  EXPECT_NE(one.low, other.low);
  const MeanError mean = mean_error(values);
  // A percentile end of 10,000 draws is known to sqrt(.025 * .975 / 1e4) / phi(1.96) = 0.027 errors; four of it, and 1/n from dividing by n.
  const double tolerance = (4 * 0.027 + 1.0 / 400 + 0.1) * mean.standard_error;  // 0.1: skewness of order 1 / sqrt(n)
  EXPECT_NEAR(one.low, mean.mean - kZ95 * mean.standard_error, tolerance);
  EXPECT_NEAR(one.high, mean.mean + kZ95 * mean.standard_error, tolerance);
  EXPECT_GT(kZ95 - 0.5, 4 * 0.027 + 0.2) << "half the width would be seen";
  EXPECT_TRUE(std::isnan(bootstrap_interval({}, 1).low));
}

TEST(Equivalence, AgreesWithItsIntervalAndRefusesAMarginOfNothing) {
  const std::vector<double> near = {0.01, -0.02, 0.03, 0.0, -0.01, 0.02};
  const Equivalence within = equivalence_test(near, 0.05);
  EXPECT_LT(within.p_value, 0.05);
  // At a margin equal to the far end of the 90% interval p is exactly 0.05.
  EXPECT_NEAR(equivalence_test(near, within.interval90.high).p_value, 0.05, 1e-12);
  EXPECT_GT(equivalence_test(near, 0.5 * within.interval90.high).p_value, 0.05);
  EXPECT_EQ(equivalence_test(std::vector<double>{0, 0, 0}, 0.1).p_value, 0);
  EXPECT_EQ(equivalence_test(std::vector<double>{1}, 0.1).p_value, 1);
  EXPECT_THROW(equivalence_test(near, 0), UserError);
  EXPECT_THROW(equivalence_test(near, std::nan("")), UserError);
}

/// The same numbers from scipy: binomtest, proportion_ci, permutation_test, t tests, t.cdf.
TEST(Paired, AgreesWithScipy) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  if (shell(std::string(python) + " -c 'import scipy'").exit_code != 0) GTEST_SKIP() << "that python has no scipy";
  std::mt19937 random(11);
  std::normal_distribution<double> normal(0.2, 1);
  std::vector<double> few(12), many(300);
  for (auto* values : {&few, &many})
    for (double& v : *values) v = std::round(normal(random) * 1024) / 1024;  // exact in both languages
  const TemporaryFolder folder;
  write_file(folder / "oracle.py", fmt::format(R"(import json, numpy as np
from scipy import stats
few, many = np.array([{}]), np.array([{}])
out = dict(wilson=[list(stats.binomtest(k, n).proportion_ci(method="wilson")) for k, n in [(0, 9), (3, 17), (145, 198), (50, 50)]],
           exact=[stats.binomtest(b, b + c).pvalue for b, c in [(1, 8), (5, 15), (40, 61), (7, 7)]],
           flips=stats.permutation_test((few,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue,
           tost=[max(stats.ttest_1samp(x, -m, alternative="greater").pvalue, stats.ttest_1samp(x, m, alternative="less").pvalue) for x in (few, many) for m in (0.1, 0.3, 0.9)],
           interval=[list(stats.t.interval(0.9, len(x) - 1, x.mean(), stats.sem(x))) for x in (few, many)],
           cdf=[stats.t.cdf(t, d) for t in (-8, -1.5, 0.3, 4) for d in (1, 3.5, 40, 12031)])
print(json.dumps(out))
)", fmt::join(few, ", "), fmt::join(many, ", ")));
  const auto result = shell(std::string(python) + " " + (folder / "oracle.py"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto oracle = nlohmann::json::parse(result.output);
  const double kClose = 1e-10;  // relative; at 12031 degrees a log gamma of 5e4 is known to 7e-12
  const auto expect = [&](const nlohmann::json& theirs, double ours, const std::string& what) { EXPECT_NEAR(ours, theirs.get<double>(), kClose * std::max(1e-3, std::abs(ours))) << what; };
  const std::pair<int, int> shares[] = {{0, 9}, {3, 17}, {145, 198}, {50, 50}}, discordant[] = {{1, 8}, {5, 15}, {40, 61}, {7, 7}};
  for (size_t i = 0; i < 4; ++i) {
    expect(oracle["wilson"][i][0], wilson_interval(shares[i].first, shares[i].second).low, "wilson low");
    expect(oracle["wilson"][i][1], wilson_interval(shares[i].first, shares[i].second).high, "wilson high");
    expect(oracle["exact"][i], mcnemar_test(discordant[i].first, discordant[i].second).exact, "mcnemar");
  }
  expect(oracle["flips"], sign_flip_test(few, 1), "sign flips");
  size_t at = 0;
  for (const auto* values : {&few, &many})
    for (const double margin : {0.1, 0.3, 0.9}) expect(oracle["tost"][at++], equivalence_test(*values, margin).p_value, "tost");
  for (size_t i = 0; i < 2; ++i) expect(oracle["interval"][i][1], equivalence_test(i ? many : few, 1).interval90.high, "interval");
  at = 0;
  for (const double t : {-8.0, -1.5, 0.3, 4.0})
    for (const double degrees : {1.0, 3.5, 40.0, 12031.0}) expect(oracle["cdf"][at++], student_t_cdf(t, degrees), "cdf");
}

}  // namespace
}  // namespace canvaslab
