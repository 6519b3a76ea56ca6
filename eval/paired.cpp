#include "eval/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/philox.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// log of the binomial coefficient times 2^-n.
double log_half_binomial(int64_t n, int64_t k) {
  const auto gamma = [](int64_t v) { return std::lgamma(static_cast<double>(v) + 1); };
  return gamma(n) - gamma(k) - gamma(n - k) - static_cast<double>(n) * std::log(2.0);
}

/// Regularised incomplete beta function by its continued fraction (modified Lentz), good where x < (a + 1) / (a + b + 2).
/// Source: DLMF 8.17.22.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto guarded = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / guarded(1 - (a + b) * x / (a + 1)), h = d;
  for (int m = 1; m < 10'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guarded(1 + even * d), c = guarded(1 + even / c);
    h *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guarded(1 + odd * d), c = guarded(1 + odd / c);
    h *= d * c;
    if (std::abs(d * c - 1) < 1e-16) break;
  }
  return std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x)) * h / a;
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  return x < (a + 1) / (a + b + 2) ? beta_fraction(a, b, x) : 1 - beta_fraction(b, a, 1 - x);
}

/// The t with P(T <= t) = p, p in (1/2, 1), by bisection.
double student_t_quantile(double p, double degrees) {
  double low = 0, high = 2;
  while (student_t_cdf(high, degrees) < p) high *= 2;
  for (int i = 0; i < 100; ++i) (student_t_cdf((low + high) / 2, degrees) < p ? low : high) = (low + high) / 2;
  return (low + high) / 2;
}

double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Interval wilson_interval(int64_t successes, int64_t n, double z) {
  if (n == 0) return {0, 1};
  const double count = static_cast<double>(n), p = static_cast<double>(successes) / count, zz = z * z / count;
  const double centre = (p + zz / 2) / (1 + zz), half = z * std::sqrt(p * (1 - p) / count + zz / (4 * count)) / (1 + zz);
  // The ends at 0 and n are exactly 0 and 1; rounding must not leave them.
  return {successes == 0 ? 0 : centre - half, successes == n ? 1 : centre + half};
}

Interval bootstrap_interval(std::span<const double> differences, uint64_t seed, uint32_t draws, double coverage) {
  if (differences.empty()) return {kUndefined, kUndefined};
  const auto n = static_cast<uint32_t>(differences.size());
  std::vector<double> means(draws);
  for (uint32_t draw = 0; draw < draws; ++draw) {
    const DrawKey key{.seed = seed, .item = draw};
    double sum = 0;
    for (uint32_t i = 0; i < n; ++i) sum += differences[key.below(n, Purpose::kResample, i)];
    means[draw] = sum / n;
  }
  std::sort(means.begin(), means.end());
  return {percentile(means, (1 - coverage) / 2), percentile(means, (1 + coverage) / 2)};
}

McNemar mcnemar_test(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b, least = std::min(only_a, only_b);
  if (n == 0) return {};
  double tail = 0;
  for (int64_t k = 0; k <= least; ++k) tail += std::exp(log_half_binomial(n, k));
  const double observed = std::exp(log_half_binomial(n, least));
  if (only_a == only_b) return {.exact = 1, .mid_p = 1 - observed};  // 2 tail - observed = 1, the centre counted once
  return {.exact = std::min(1.0, 2 * tail), .mid_p = 2 * tail - observed};
}

double sign_flip_test(std::span<const double> differences, uint64_t seed, uint32_t draws) {
  std::vector<double> moving;
  for (double d : differences)
    if (d != 0) moving.push_back(d);
  const auto n = static_cast<uint32_t>(moving.size());
  if (n == 0) return 1;
  double observed = 0, size = 0;
  for (double d : moving) observed += d, size += std::abs(d);
  const double least = std::abs(observed) - 1e-12 * size;  // sums in another order of signs must not fall short by rounding
  if (n <= kExactFlips) {
    uint32_t extreme = 0;
    for (uint32_t signs = 0; signs < (1u << n); ++signs) {
      double sum = 0;
      for (uint32_t i = 0; i < n; ++i) sum += (signs >> i & 1) ? moving[i] : -moving[i];
      extreme += std::abs(sum) >= least;
    }
    return static_cast<double>(extreme) / static_cast<double>(1u << n);
  }
  uint32_t extreme = 0;
  for (uint32_t draw = 0; draw < draws; ++draw) {
    const DrawKey key{.seed = seed, .item = draw, .repeat = 1};  // repeat 1: apart from the bootstrap's draws
    double sum = 0;
    for (uint32_t i = 0; i < n; ++i) sum += key.below(2, Purpose::kResample, i) ? moving[i] : -moving[i];
    extreme += std::abs(sum) >= least;
  }
  return (1.0 + extreme) / (1.0 + draws);
}

Equivalence equivalence_test(std::span<const double> differences, double margin) {
  if (!(margin > 0)) throw usage_error("the margin of equivalence is {}; expected a number above 0, in the unit of the score", margin);
  const MeanError mean = mean_error(differences);
  if (mean.count < 2) return {.p_value = 1, .interval90 = {kUndefined, kUndefined}};
  if (mean.standard_error == 0) return {.p_value = std::abs(mean.mean) < margin ? 0.0 : 1.0, .interval90 = {mean.mean, mean.mean}};
  const auto degrees = static_cast<double>(mean.count - 1);
  const double above_low = student_t_cdf(-(mean.mean + margin) / mean.standard_error, degrees);
  const double below_high = student_t_cdf((mean.mean - margin) / mean.standard_error, degrees);
  const double half = student_t_quantile(0.95, degrees) * mean.standard_error;
  return {.p_value = std::max(above_low, below_high), .interval90 = {mean.mean - half, mean.mean + half}};
}

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p_values.size(); ++i)
    if (!std::isnan(p_values[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> out(p_values.size(), kUndefined);
  double least = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    least = std::max(least, std::min(1.0, static_cast<double>(order.size() - rank) * p_values[order[rank]]));
    out[order[rank]] = least;
  }
  return out;
}

double student_t_cdf(double t, double degrees) {
  const double tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t));
  return t > 0 ? 1 - tail : tail;
}

}  // namespace canvaslab
