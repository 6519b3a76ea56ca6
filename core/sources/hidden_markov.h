#pragma once
// A hidden Markov source and its exact posterior under uniform corruption.
#include <optional>
#include <string>
#include <vector>

#include "core/sources/source.h"

namespace canvaslab {

/// States S, alphabet V. Transition and emission rows are softmax(sharpness * Gumbel): larger sharpness is less random.
/// The chain starts from its stationary law, so every stretch of it has the same law.
class HiddenMarkov final : public Source {
 public:
  HiddenMarkov(int32_t num_states, int32_t vocabulary, double sharpness, uint64_t seed);
  /// From given tables: transition [S, S], emission [S, V], rows summing to 1.
  HiddenMarkov(std::vector<double> transition, std::vector<double> emission, int32_t num_states);

  int32_t vocabulary() const override { return vocabulary_; }
  int32_t num_states() const { return num_states_; }
  /// State: the exact law of the hidden state at the next position.
  SourceState start() const override { return {.weights = stationary_, .tokens = {}}; }
  void advance(SourceState& state, std::span<const int32_t> tokens) const override;
  std::vector<double> posterior(const SourceState& state, std::span<const Evidence> canvas,
                                double* log_evidence = nullptr) const override;
  std::vector<int32_t> sample(size_t length, const DrawKey& key) const override;
  double log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const override;
  /// Conditional entropy of a token given a long exact past, estimated by the forward filter on one long exact sample
  /// whose seed is fixed (nats per token; standard error below 0.005).
  double entropy_rate_nats() const override;
  std::vector<double> pair_law() const override;

  const std::vector<double>& stationary() const { return stationary_; }   // [S]
  const std::vector<double>& transition() const { return transition_; }   // [S, S]
  const std::vector<double>& emission() const { return emission_; }       // [S, V]

  /// Law of the state at the next position after observing `tokens` from prior state law `start` [S].
  /// Errors: usage when the tokens have probability 0 (tables with zeros, or a sharpness whose small entries underflow).
  std::vector<double> filter(std::vector<double> start, std::span<const int32_t> tokens) const;

  /// The same for a uniformly corrupted canvas, by forward-backward.
  /// canvas [L]; start [S]: state law at position 0; survival: probability that a token was left as it was, in [0, 1].
  /// Returns probabilities [L, V] and adds ln P(canvas | survival) to *log_evidence when given.
  std::vector<double> posterior(std::span<const int32_t> canvas, const std::vector<double>& start, double survival,
                                double* log_evidence = nullptr) const;

 private:
  void finish();
  int32_t num_states_, vocabulary_;
  std::vector<double> transition_, emission_, stationary_;
  std::vector<double> transposed_;  // [S, S] transition, target first
};

}  // namespace canvaslab
