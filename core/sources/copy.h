#pragma once
// Blocks whose second half repeats the first: dependence at a distance, in closed form for any alphabet and length.
#include "core/sources/source.h"

namespace canvaslab {

/// Blocks of 2 * span tokens: span independent tokens of law g = softmax(sharpness * Gumbel), then each of them again, or,
/// with probability slip, a uniform token in its place. Blocks are independent; the first begins at the prompt's start.
class CopySource final : public Source {
 public:
  CopySource(int32_t vocabulary, int32_t span, double sharpness, double slip, uint64_t seed);

  int32_t vocabulary() const override { return vocabulary_; }
  /// State: the tokens of the block so far.
  SourceState start() const override { return {}; }
  void advance(SourceState& state, std::span<const int32_t> tokens) const override;
  std::vector<double> posterior(const SourceState& state, std::span<const Evidence> canvas,
                                double* log_evidence = nullptr) const override;
  double entropy_rate_nats() const override;  // exact
  std::vector<double> pair_law() const override;
  bool pairs_show_rule() const override { return span_ == 1; }

 private:
  int32_t vocabulary_;
  size_t span_;
  double slip_;
  std::vector<double> law_;  // [V]
};

}  // namespace canvaslab
