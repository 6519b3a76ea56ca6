#pragma once
// Statistics of results: means with standard errors, divergences of token pairs.
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace canvaslab {

struct MeanError {
  double mean = 0, standard_error = 0;  ///< of the mean; 0 for fewer than two values
  int64_t count = 0;
};
/// Mean and its standard error sqrt(sum (x - mean)^2 / (n (n - 1))).
MeanError mean_error(std::span<const double> values);

/// Half width of a normal 95% interval over its standard error.
inline constexpr double kZ95 = 1.959963984540054;
/// A difference this many standard errors wide is found with power 80% at the two-sided 5% level: z(0.975) + z(0.8).
inline constexpr double kDetectable = 1.959963984540054 + 0.8416212335729143;

/// Items fall into this many groups (item index modulo it) for the jackknife.
inline constexpr size_t kJackknifeGroups = 20;
/// Standard error from the values with one group left out each: sqrt((g - 1)/g sum (v - mean)^2). NaNs (groups without
/// items) do not count; 0 for fewer than two values. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 11.
double jackknife_error(std::span<const double> left_out);
/// The same of the difference of two statistics over the same items: what both share cancels.
double paired_error(std::span<const double> left_out_a, std::span<const double> left_out_b);
/// The mean of one value per item, with each group of items left out in turn; NaN where a group is empty or is all there is.
std::vector<double> left_out_means(std::span<const double> values, std::span<const uint32_t> item_of);

/// Jensen-Shannon divergence of two laws on the same set, nats, in [0, ln 2]. Both must sum to 1.
double jensen_shannon(std::span<const double> p, std::span<const double> q);

/// Neighbouring-token counts of many sequences over an alphabet of V tokens.
class PairCounts {
 public:
  explicit PairCounts(int32_t vocabulary) : vocabulary_(static_cast<size_t>(vocabulary)), count_(vocabulary_ * vocabulary_) {}
  void add(std::span<const int32_t> tokens);
  void add(const PairCounts& other, double sign = 1);
  double total() const { return total_; }
  std::vector<double> law() const;                   ///< [V, V], sums to 1
  /// H(next | previous) of the counted law, nats (plug-in, biased low by about V^2 / 2n).
  double conditional_entropy_nats() const;

 private:
  size_t vocabulary_;
  std::vector<double> count_;
  double total_ = 0;
};

/// H(next | previous) of a pair law [V, V], nats.
double conditional_entropy_nats(std::span<const double> law, size_t vocabulary);

/// By how much the plug-in divergence of n pairs from their own law exceeds 0 on average: (K - 1) / (8 n) to first order,
/// K the number of possible pairs. (JS = chi^2 / 8 near equality, and n chi^2 has mean K - 1; neighbouring pairs that
/// depend on each other change the constant, so the control row shows what it really is.)
double plugin_bias_nats(std::span<const double> exact, double num_pairs);

struct Divergence {
  double value = 0;           ///< nats, plug-in (biased up by finite samples: compare with the control row)
  double standard_error = 0;  ///< delete-a-group jackknife over items
  double output_entropy_nats = 0;
  double bias_nats = 0;       ///< plugin_bias_nats at this sample size
  std::vector<double> left_out = std::vector<double>(kJackknifeGroups, std::numeric_limits<double>::quiet_NaN());
};
/// Divergence of pairs counted by jackknife group from the exact pair law [V, V].
Divergence pair_divergence(std::span<const PairCounts> groups, std::span<const double> exact);
/// Divergence of the pairs of `sequences` from the exact pair law [V, V]; sequences i share item item_of[i].
Divergence pair_divergence(const std::vector<std::span<const int32_t>>& sequences, std::span<const uint32_t> item_of,
                           std::span<const double> exact, int32_t vocabulary);

}  // namespace canvaslab
