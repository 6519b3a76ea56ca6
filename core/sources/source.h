#pragma once
// An exactly solvable source of token sequences: sampling, likelihood and marginals without approximation.
#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"

namespace canvaslab {

class Source {
 public:
  virtual ~Source() = default;
  virtual int32_t vocabulary() const = 0;
  /// An exact sample of `length` tokens; a pure function of the key.
  virtual std::vector<int32_t> sample(size_t length, const DrawKey& key) const = 0;
  /// ln P(tokens | context), nats.
  virtual double log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const = 0;
  /// Entropy of `length` tokens divided by length, nats per token (exact where tractable).
  virtual double entropy_rate_nats() const = 0;
  /// Law of two neighbouring tokens under stationarity, [V, V] row-major, sums to 1.
  virtual std::vector<double> pair_law() const = 0;
};

}  // namespace canvaslab
