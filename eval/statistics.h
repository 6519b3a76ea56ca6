#pragma once
// Statistics of results: means with standard errors, divergences of token pairs.
#include <cstdint>
#include <functional>
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

struct Divergence {
  double value = 0;           ///< nats, plug-in (biased up by finite samples: compare with the control row)
  double standard_error = 0;  ///< delete-a-group jackknife over items, up to 20 groups
  double output_entropy_nats = 0;
};
/// Divergence of the pairs of `sequences` from the exact pair law [V, V]; sequences i share item item_of[i].
Divergence pair_divergence(const std::vector<std::span<const int32_t>>& sequences, std::span<const uint32_t> item_of,
                           std::span<const double> exact, int32_t vocabulary);

}  // namespace canvaslab
