#pragma once
// What samplers and stop rules see of a step: a few scalars per position, filled in one streaming read of the logits.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/philox.h"

namespace canvaslab {

/// One bit per family of statistics. A plug-in declares what it reads; only that is computed.
enum class Statistic : uint32_t {
  kMax = 1,         ///< argmax, argmax_logprob
  kTop2 = 2,        ///< second, second_logprob
  kEntropy = 4,     ///< entropy_nats
  kCandidate = 8,   ///< candidate, candidate_logprob
  kCurrent = 16,    ///< current_logprob: of the token the canvas holds
  kUntempered = 32, ///< argmax_logprob_t1, entropy_t1_nats: the same at temperature 1
  kDivergence = 64, ///< kl_nats: from the step before; its logits are kept only when this is declared
  kAlternative = 128, ///< alternative: drawn among the tokens that the canvas does not hold
};

/// A set of Statistic bits.
class StatisticSet {
 public:
  constexpr StatisticSet() = default;
  constexpr StatisticSet(std::initializer_list<Statistic> bits) {
    for (Statistic bit : bits) bits_ |= static_cast<uint32_t>(bit);
  }
  constexpr bool has(Statistic bit) const { return (bits_ & static_cast<uint32_t>(bit)) != 0; }
  constexpr StatisticSet operator|(StatisticSet other) const {
    StatisticSet out;
    out.bits_ = bits_ | other.bits_;
    return out;
  }
  constexpr bool operator==(const StatisticSet&) const = default;
  constexpr uint32_t bits() const { return bits_; }
  static constexpr StatisticSet all() {
    return {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent, Statistic::kUntempered,
            Statistic::kDivergence, Statistic::kAlternative};
  }

 private:
  uint32_t bits_ = 0;
};

/// Statistics of one canvas, structure of arrays over its L positions. Log-probabilities are natural logarithms under
/// softmax(logits / T), at T = 0 under softmax(logits): greedy candidates keep confidences that can be ranked. Vectors of statistics nobody asked for are empty (poisoned in tests).
struct RowStatistics {
  std::vector<int32_t> argmax;           // [L], ties: lowest id
  std::vector<float> argmax_logprob;     // [L] nats
  std::vector<int32_t> second;           // [L] best id other than argmax
  std::vector<float> second_logprob;     // [L] nats
  std::vector<float> entropy_nats;       // [L] nats, in [0, ln V]
  std::vector<int32_t> candidate;        // [L] drawn from softmax(logits / T)
  std::vector<float> candidate_logprob;  // [L] nats
  std::vector<float> current_logprob;    // [L] nats
  std::vector<float> argmax_logprob_t1;  // [L] nats at temperature 1
  std::vector<float> entropy_t1_nats;    // [L] nats at temperature 1
  std::vector<float> kl_nats;            // [L] KL(this step || step before) at temperature 1, no filters; inf at the first step
  std::vector<int32_t> alternative;      // [L] drawn from softmax(logits / T) without the canvas's token

  /// Sizes the vectors of `wanted` to num_positions and empties the others.
  void resize(size_t num_positions, StatisticSet wanted);
};

/// Which tokens may be drawn, applied after the temperature in this order. The argmax always stays.
struct LogitFilters {
  int32_t top_k = 0;     ///< the k most likely tokens, ties to the lowest ids; 0: all
  double top_p = 1;      ///< the fewest likeliest tokens that hold this much of what top_k left
  double min_p = 0;      ///< tokens at least this likely, relative to the likeliest
  bool filtered_statistics = true;  ///< false: only candidates see the filters, statistics the whole law
  bool any() const { return top_k > 0 || top_p < 1 || min_p > 0; }
};

/// What to compute for one row of L positions.
struct StatisticsRequest {
  float temperature = 1;                 ///< > 0, or 0: greedy (candidate = argmax, entropy 0, log-probabilities at 1)
  StatisticSet wanted;
  std::span<const int32_t> canvas;       ///< [L], read for kCurrent
  std::optional<DrawKey> draw_key;       ///< kCandidate needs it; absent: candidates are left to the caller
  LogitFilters filters = {};             ///< at temperature 0 they see the law at temperature 1
  std::span<const float> previous_logits = {};  ///< [end - begin, V] of the step before, for kDivergence; empty: no such step
};

/// Fills statistics [begin, end) of `out` from logits [end - begin, V] f32, row-major, one read per position plus a
/// rescan of one tile for the candidate (tile CDF: one uniform per row, exact).
/// -inf logits are tokens of probability zero. Errors: NaN or +inf logits, or a row of only -inf, throw NonFiniteLogits.
/// Accuracy: against the f64 two-pass value entropy within 1e-5 (1 + H), log-sum-exp within 1e-6 relative, argmax exact,
/// the candidate that of the same uniform unless it lies within 1e-5 of a boundary. The same bits for any split of the
/// positions, any alignment, and with any instruction set (core/kernels/tile_sums.h).
void compute_row_statistics(std::span<const float> logits, int32_t vocabulary, size_t begin, size_t end,
                            const StatisticsRequest& request, RowStatistics& out);

/// Token of softmax(logits / temperature) by inversion of `uniform` in (0, 1); the argmax at temperature 0.
/// Errors: NonFiniteLogits at position 0.
int32_t draw_token(std::span<const float> logits, float temperature, double uniform);

/// Logits that are no distribution, with the position where they appeared.
class NonFiniteLogits : public std::exception {
 public:
  explicit NonFiniteLogits(size_t position) : position_(position) {}
  const char* what() const noexcept override { return "logits hold NaN, +inf or only -inf"; }
  size_t position() const { return position_; }

 private:
  size_t position_;
};

}  // namespace canvaslab
