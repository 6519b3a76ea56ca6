#pragma once
// An exactly solvable source of token sequences: sampling, likelihood and marginals without approximation.
#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"

namespace canvaslab {

/// What one canvas position says of its clean token v: likelihood floor + gain * [v = token]. Uniform corruption at
/// survival a has gain a and floor (1 - a) / V; a certain token has floor 0; a masked one says nothing: gain 0.
struct Evidence {
  int32_t token = 0;
  double gain = 0, floor = 1;
};

/// Where a source stands after some tokens: whatever it needs of them, copied freely. Only the source reads it.
struct SourceState {
  std::vector<double> weights;  ///< law of a hidden state or automaton node
  std::vector<int32_t> tokens;  ///< tokens that still matter
  size_t position = 0;          ///< tokens so far
};

class Source {
 public:
  virtual ~Source() = default;
  virtual int32_t vocabulary() const = 0;
  /// The state before any token.
  virtual SourceState start() const = 0;
  /// Takes tokens of the alphabet as observed. Errors: UserError when they have probability 0.
  virtual void advance(SourceState& state, std::span<const int32_t> tokens) const = 0;
  /// Posterior marginals [L, V] of the next L clean tokens given what a canvas says of them, by an exact recursion; adds
  /// ln P(evidence | state) to *log_evidence when given. Errors: UserError when the evidence has probability 0.
  virtual std::vector<double> posterior(const SourceState& state, std::span<const Evidence> canvas,
                                        double* log_evidence = nullptr) const = 0;
  /// Law [V] of the next token.
  std::vector<double> next_law(const SourceState& state) const;
  /// An exact sample of `length` tokens; a pure function of the key.
  virtual std::vector<int32_t> sample(size_t length, const DrawKey& key) const;
  /// ln P(tokens | context), nats; -inf for tokens that are impossible or outside the alphabet (a mask left standing).
  virtual double log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const;
  /// Entropy per token of an endless sequence, nats (exact where tractable).
  virtual double entropy_rate_nats() const = 0;
  /// Law of two neighbouring tokens under stationarity, [V, V] row-major, sums to 1. Sources made of blocks: averaged over
  /// the phases of a block, the border between two blocks included.
  virtual std::vector<double> pair_law() const = 0;
  /// Whether the law of two neighbours shows what this source is about. Where its rule joins tokens further apart, samples that break the
  /// rule may have a smaller divergence of pairs than exact ones, and only the likelihood tells.
  virtual bool pairs_show_rule() const { return true; }

 protected:
  /// Index drawn by inversion: `u` uniform in (0, 1), weights summing to 1.
  static size_t draw_index(std::span<const double> weights, double u);
  /// Fails a sample: what was observed cannot come from the source.
  [[noreturn]] static void impossible(size_t position, int32_t token);
};

}  // namespace canvaslab
