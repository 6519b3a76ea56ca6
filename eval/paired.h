#pragma once
// Comparing two configurations over the same items: intervals and tests (evaluation.md 1.6).
#include <cstdint>
#include <span>
#include <vector>

namespace canvaslab {

struct Interval {
  double low = 0, high = 0;
};

/// Wilson score interval of a share, successes of n, 95% unless `z` says otherwise. n = 0: [0, 1].
/// Source: Wilson (1927); no continuity correction.
Interval wilson_interval(int64_t successes, int64_t n, double z = 1.959963984540054);

/// Percentile bootstrap interval of the mean of per-item differences, items drawn with replacement. Draws are counter-based:
/// a pure function of seed, draw and position. Percentiles are interpolated between order statistics. Empty: NaN.
Interval bootstrap_interval(std::span<const double> differences, uint64_t seed, uint32_t draws = 10'000, double coverage = 0.95);

struct McNemar {
  double exact = 1, mid_p = 1;   ///< two-sided
};
/// McNemar's test from discordant counts: two-sided binomial with p = 1/2; the mid-p counts the observed outcome half.
/// Source: Fagerland, Lydersen, Laake (2013).
McNemar mcnemar_test(int64_t only_a, int64_t only_b);

/// Two-sided test that swaps the labels of each item at random (sign flips of the differences): every assignment up to
/// kExactFlips items with a difference, else `draws` counter-based ones with p = (1 + at least as extreme) / (1 + draws).
inline constexpr size_t kExactFlips = 16;
double sign_flip_test(std::span<const double> differences, uint64_t seed, uint32_t draws = 10'000);

struct Equivalence {
  double p_value = 1;            ///< the larger of the two one-sided p-values; small: the difference lies within the margin
  Interval interval90;           ///< 90% t interval of the mean difference; within (-margin, margin) exactly when p < 0.05
};
/// Two one-sided t tests of the mean of per-item differences against -margin and +margin. Fewer than two items: p = 1 and NaN.
/// Errors: usage when the margin is not above 0. Source: Schuirmann (1987).
Equivalence equivalence_test(std::span<const double> differences, double margin);

/// Holm's step-down adjustment, in the order given. NaN stays NaN and does not count. Source: Holm (1979).
std::vector<double> holm_adjusted(std::span<const double> p_values);

/// P(T <= t) of Student's t with the given degrees of freedom (> 0).
double student_t_cdf(double t, double degrees);

}  // namespace canvaslab
