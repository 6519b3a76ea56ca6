#include "core/row_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/tile_sums.h"

namespace canvaslab {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

/// Softmax sums of one row at one temperature: z = sum e^d, s = sum d e^d with d = (l - max) / T.
struct SoftmaxSums {
  double z = 0, s = 0;
  double entropy() const { return std::max(0.0, std::log(z) - s / z); }
};

/// One row's tiles: what the read of it leaves behind. Reused from row to row.
struct Row {
  std::span<const float> logits;
  double inverse_t;
  int32_t best = -1, second = -1;
  float best_logit = kNone, second_logit = kNone;
  SoftmaxSums tempered, plain;

  /// The one read. False when the logits are no distribution.
  bool scan(bool want_plain) {
    const TileKernels& kernels = tile_kernels();
    const size_t num_tiles = (logits.size() + kTile - 1) / kTile;
    maxima_.resize(num_tiles);
    sums_.resize(num_tiles);
    plain_sums_.resize(want_plain ? num_tiles : 0);
    for (size_t i = 0; i < num_tiles; ++i) {
      const auto tile = padded_tile(i);
      if (!kernels.maximum(tile.data(), tile.size(), &maxima_[i])) return false;
      const bool empty = maxima_[i] == kNone;
      const float* next = (i + 2) * kTile <= logits.size() ? logits.data() + (i + 1) * kTile : nullptr;
      sums_[i] = empty ? TileSums{} : kernels.sums(tile.data(), tile.size(), maxima_[i], inverse_t, next);
      if (want_plain) plain_sums_[i] = empty ? TileSums{} : inverse_t == 1 ? sums_[i] : kernels.sums(tile.data(), tile.size(), maxima_[i], 1.0, nullptr);
    }
    find_best();
    if (best < 0) return false;
    tempered = merged(sums_, inverse_t, &weights_);
    if (want_plain) plain = merged(plain_sums_, 1.0, nullptr);
    return true;
  }

  /// The best token other than `best`, lowest id first; -1 when all others have probability zero.
  void find_second() {
    second = -1;
    second_logit = kNone;
    const size_t best_tile = static_cast<size_t>(best) / kTile;
    size_t other = best_tile;
    for (size_t i = 0; i < maxima_.size(); ++i)
      if (i != best_tile && maxima_[i] > (other == best_tile ? kNone : maxima_[other])) other = i;
    for (size_t tile : {std::min(best_tile, other), std::max(best_tile, other)}) {
      const size_t end = std::min(logits.size(), (tile + 1) * kTile);
      for (size_t v = tile * kTile; v < end; ++v) {
        if (!(logits[v] > second_logit) || static_cast<int32_t>(v) == best) continue;
        second = static_cast<int32_t>(v);
        second_logit = logits[v];
      }
    }
  }

  /// The token at u of the cumulative distribution: first the tile, then the token within it, its weights made anew.
  int32_t draw(double u) {
    double target = u * tempered.z;
    size_t tile = 0, last_live = 0;
    bool found = false;
    for (size_t i = 0; i < weights_.size() && !found; ++i) {
      if (weights_[i] == 0) continue;
      last_live = i;
      if (target < weights_[i]) {
        tile = i;
        found = true;
      } else {
        target -= weights_[i];
      }
    }
    if (!found) tile = last_live;
    const auto padded = padded_tile(tile);
    terms_.resize(padded.size());
    tile_kernels().weights(padded.data(), padded.size(), maxima_[tile], inverse_t, terms_.data());
    // In units of the tile's own maximum. Beyond the last token for a sliver of rounding only.
    target *= sums_[tile].z / weights_[tile];
    int32_t token = best;
    for (size_t i = 0; i < terms_.size(); ++i) {
      if (terms_[i] == 0) continue;
      token = static_cast<int32_t>(tile * kTile + i);
      if (target < static_cast<double>(terms_[i])) break;
      target -= static_cast<double>(terms_[i]);
    }
    return token;
  }

 private:
  /// Tile i of the row, or a copy of it filled up with tokens of probability zero.
  std::span<const float> padded_tile(size_t i) {
    const auto tile = logits.subspan(i * kTile, std::min(kTile, logits.size() - i * kTile));
    if (tile.size() % kLanes == 0) return tile;
    padded_.assign((tile.size() + kLanes - 1) / kLanes * kLanes, kNone);
    std::copy(tile.begin(), tile.end(), padded_.begin());
    return padded_;
  }

  void find_best() {
    size_t tile = 0;
    for (size_t i = 1; i < maxima_.size(); ++i)
      if (maxima_[i] > maxima_[tile]) tile = i;
    best = -1;
    best_logit = maxima_.empty() ? kNone : maxima_[tile];
    if (best_logit == kNone) return;
    best = static_cast<int32_t>(std::find(logits.begin() + static_cast<ptrdiff_t>(tile * kTile), logits.end(), best_logit) - logits.begin());
  }

  /// Sums in units of the row's maximum; `weights` takes each tile's share of z.
  SoftmaxSums merged(const std::vector<TileSums>& tiles, double inverse, std::vector<double>* weights) const {
    SoftmaxSums out;
    if (weights) weights->assign(tiles.size(), 0.0);
    for (size_t i = 0; i < tiles.size(); ++i) {
      if (tiles[i].z == 0) continue;
      const double shift = (static_cast<double>(maxima_[i]) - static_cast<double>(best_logit)) * inverse;
      const double factor = shift == 0 ? 1.0 : std::exp(shift);
      if (factor == 0) continue;  // 0 times an infinite shift would be NaN
      out.z += factor * tiles[i].z;
      out.s += factor * (tiles[i].s + shift * tiles[i].z);
      if (weights) (*weights)[i] = factor * tiles[i].z;
    }
    return out;
  }

  std::vector<float> maxima_, padded_, terms_;
  std::vector<TileSums> sums_, plain_sums_;
  std::vector<double> weights_;
};

}  // namespace

void RowStatistics::resize(size_t n, StatisticSet wanted) {
  const auto size_of = [&](Statistic bit) { return wanted.has(bit) ? n : size_t{0}; };
  argmax.resize(size_of(Statistic::kMax));
  argmax_logprob.resize(size_of(Statistic::kMax));
  second.resize(size_of(Statistic::kTop2));
  second_logprob.resize(size_of(Statistic::kTop2));
  entropy_nats.resize(size_of(Statistic::kEntropy));
  candidate.resize(size_of(Statistic::kCandidate));
  candidate_logprob.resize(size_of(Statistic::kCandidate));
  current_logprob.resize(size_of(Statistic::kCurrent));
  argmax_logprob_t1.resize(size_of(Statistic::kUntempered));
  entropy_t1_nats.resize(size_of(Statistic::kUntempered));
}

void compute_row_statistics(std::span<const float> logits, int32_t vocabulary, size_t begin, size_t end,
                            const StatisticsRequest& request, RowStatistics& out) {
  const bool greedy = request.temperature == 0;
  const StatisticSet wanted = request.wanted;
  Row row;
  row.inverse_t = greedy ? 1.0 : 1.0 / static_cast<double>(request.temperature);
  for (size_t p = begin; p < end; ++p) {
    row.logits = logits.subspan((p - begin) * static_cast<size_t>(vocabulary), static_cast<size_t>(vocabulary));
    if (!row.scan(wanted.has(Statistic::kUntempered))) throw NonFiniteLogits(p);
    const double log_z = std::log(row.tempered.z);
    const auto log_prob = [&](float logit) {
      return static_cast<float>((static_cast<double>(logit) - row.best_logit) * row.inverse_t - log_z);
    };
    if (wanted.has(Statistic::kMax)) {
      out.argmax[p] = row.best;
      out.argmax_logprob[p] = log_prob(row.best_logit);
    }
    if (wanted.has(Statistic::kTop2)) {
      row.find_second();
      out.second[p] = row.second >= 0 ? row.second : (row.best == 0 && vocabulary > 1 ? 1 : 0);
      out.second_logprob[p] = log_prob(row.second_logit);
    }
    if (wanted.has(Statistic::kEntropy)) out.entropy_nats[p] = greedy ? 0.0f : static_cast<float>(row.tempered.entropy());
    if (wanted.has(Statistic::kCandidate) && request.draw_key) {
      const int32_t token = greedy ? row.best : row.draw(request.draw_key->uniform(Purpose::kCandidate, static_cast<uint32_t>(p)));
      out.candidate[p] = token;
      out.candidate_logprob[p] = log_prob(row.logits[static_cast<size_t>(token)]);
    }
    if (wanted.has(Statistic::kCurrent)) out.current_logprob[p] = log_prob(row.logits[static_cast<size_t>(request.canvas[p])]);
    if (wanted.has(Statistic::kUntempered)) {
      out.argmax_logprob_t1[p] = static_cast<float>(-std::log(row.plain.z));
      out.entropy_t1_nats[p] = static_cast<float>(row.plain.entropy());
    }
  }
}

}  // namespace canvaslab
