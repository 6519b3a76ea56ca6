#pragma once
// A first-order Markov chain with few successors per token: alphabets up to thousands in O(L V k).
#include "core/sources/source.h"

namespace canvaslab {

/// P(next | last) = (1 - leak) * [k successors, weights softmax(sharpness * Gumbel)] + leak / V. Starts from its
/// stationary law, so every stretch has the same law.
class SparseMarkov final : public Source {
 public:
  SparseMarkov(int32_t vocabulary, int32_t successors, double sharpness, double leak, uint64_t seed);

  int32_t vocabulary() const override { return vocabulary_; }
  /// State: the last token, or none.
  SourceState start() const override { return {}; }
  void advance(SourceState& state, std::span<const int32_t> tokens) const override;
  std::vector<double> posterior(const SourceState& state, std::span<const Evidence> canvas,
                                double* log_evidence = nullptr) const override;
  double log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const override;
  double entropy_rate_nats() const override;  // exact
  std::vector<double> pair_law() const override;

  /// P(next | last).
  double transition(int32_t last, int32_t next) const;
  const std::vector<double>& stationary() const { return stationary_; }  // [V]

 private:
  std::vector<double> ahead(const std::vector<double>& law) const;   // law of the next token
  std::vector<double> behind(const std::vector<double>& value) const;  // expected value at the next token, given this one

  int32_t vocabulary_;
  size_t k_;
  double leak_;
  std::vector<int32_t> successor_;  // [V, k]
  std::vector<double> weight_;      // [V, k], rows sum to 1 - leak
  std::vector<double> stationary_;
};

}  // namespace canvaslab
