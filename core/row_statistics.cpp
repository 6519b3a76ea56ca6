#include "core/row_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

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
  double inverse_t = 1;

  void begin(std::span<const float> row) {
    logits = row;
    best = second = -1;
    best_logit = second_logit = kNone;
    tempered = plain = {};
  }
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

  /// A token other than `skip`, by the same inversion over what is left.
  int32_t draw_other(double u, int32_t skip) {
    const size_t own = static_cast<size_t>(skip) / kTile;
    std::vector<double> weight(weights_);
    std::vector<double> anew;  // the tile of `skip` without it: the difference of nearly equal sums would be noise
    const auto terms_of = [&](size_t tile) {
      anew.assign(std::min(kTile, logits.size() - tile * kTile), 0.0);
      for (size_t i = 0; i < anew.size(); ++i) {
        const size_t v = tile * kTile + i;
        if (v != static_cast<size_t>(skip)) anew[i] = std::exp((static_cast<double>(logits[v]) - best_logit) * inverse_t);
      }
    };
    terms_of(own);
    weight[own] = 0;
    for (double term : anew) weight[own] += term;
    double total = 0;
    for (double w : weight) total += w;
    if (second < 0) find_second();
    int32_t fallback = best != skip ? best : second >= 0 ? second : (skip == 0 && logits.size() > 1 ? 1 : 0);
    double target = u * total;
    for (size_t tile = 0; tile < weight.size(); ++tile) {
      if (target >= weight[tile]) {
        target -= weight[tile];
        continue;
      }
      terms_of(tile);
      for (size_t i = 0; i < anew.size(); ++i) {
        if (anew[i] == 0) continue;
        fallback = static_cast<int32_t>(tile * kTile + i);
        if (target < anew[i]) return fallback;
        target -= anew[i];
      }
      break;
    }
    return fallback;
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

/// Sets what the filters remove to -inf. Tokens are looked at in falling order, as far as needed.
void filter_row(const Row& row, const LogitFilters& filters, std::vector<float>& out) {
  const size_t V = row.logits.size(), most = filters.top_k > 0 ? std::min(V, static_cast<size_t>(filters.top_k)) : V;
  std::vector<uint32_t> order(V);
  for (size_t v = 0; v < V; ++v) order[v] = static_cast<uint32_t>(v);
  const auto likelier = [&](uint32_t a, uint32_t b) { return row.logits[a] != row.logits[b] ? row.logits[a] > row.logits[b] : a < b; };
  const auto weight = [&](uint32_t v) { return std::exp((static_cast<double>(row.logits[v]) - row.best_logit) * row.inverse_t); };
  double total = row.tempered.z;  // of what top_k leaves
  if (most < V) {
    std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(most), order.end(), likelier);
    total = 0;
    for (size_t i = 0; i < most; ++i) total += weight(order[i]);
  }
  out.assign(V, -std::numeric_limits<float>::infinity());
  double before = 0;
  size_t sorted = 0, kept = 0;
  for (size_t i = 0; i < most; ++i) {
    if (i == sorted) {
      sorted = std::min(most, std::max<size_t>(256, sorted * 4));
      std::partial_sort(order.begin() + static_cast<ptrdiff_t>(i), order.begin() + static_cast<ptrdiff_t>(sorted),
                        order.begin() + static_cast<ptrdiff_t>(most), likelier);
    }
    const double w = weight(order[i]);
    if (i > 0 && ((filters.top_p < 1 && before >= filters.top_p * total) || w < filters.min_p)) break;
    out[order[i]] = row.logits[order[i]];
    before += w;
    ++kept;
  }
  if (kept == 0) throw std::logic_error("the filters left no token");
}

/// KL(softmax(now) || softmax(before)), nats, at temperature 1; `best` is the largest logit of `now`. Both sums are made
/// here in f64: the difference of nearly equal laws would drown in the tile sums' f32.
double divergence(std::span<const float> now, double best, std::span<const float> before) {
  double best_before = -INFINITY, z_before = 0, z = 0, gap = 0;
  for (float l : before) best_before = std::max<double>(best_before, l);
  for (float l : before) z_before += std::exp(l - best_before);
  for (size_t v = 0; v < now.size(); ++v) {
    const double e = std::exp(now[v] - best);
    z += e;
    if (e > 0) gap += e * ((now[v] - best) - (before[v] - best_before));  // inf where the step before had no mass
  }
  return std::max(0.0, gap / z - std::log(z) + std::log(z_before));
}

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
  kl_nats.resize(size_of(Statistic::kDivergence));
  alternative.resize(size_of(Statistic::kAlternative));
}

void compute_row_statistics(std::span<const float> logits, int32_t vocabulary, size_t begin, size_t end,
                            const StatisticsRequest& request, RowStatistics& out) {
  const bool greedy = request.temperature == 0;
  const StatisticSet wanted = request.wanted;
  const auto V = static_cast<size_t>(vocabulary);
  const bool want_plain = wanted.has(Statistic::kUntempered);
  thread_local Row whole, filtered;  // their memory is kept from call to call
  whole.inverse_t = filtered.inverse_t = greedy ? 1.0 : 1.0 / static_cast<double>(request.temperature);
  std::vector<float> kept;
  for (size_t p = begin; p < end; ++p) {
    whole.begin(logits.subspan((p - begin) * V, V));
    if (!whole.scan(want_plain)) throw NonFiniteLogits(p);
    Row* drawn = &whole;
    if (request.filters.any()) {
      filter_row(whole, request.filters, kept);
      filtered.begin(kept);
      filtered.scan(want_plain);
      drawn = &filtered;
    }
    Row& row = request.filters.filtered_statistics ? *drawn : whole;
    const double log_z = std::log(row.tempered.z);
    const auto log_prob = [&](float logit) {
      return static_cast<float>((static_cast<double>(logit) - row.best_logit) * row.inverse_t - log_z);
    };
    const auto current = wanted.has(Statistic::kCurrent) || wanted.has(Statistic::kAlternative) ? request.canvas[p] : 0;
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
      const int32_t token = greedy ? drawn->best : drawn->draw(request.draw_key->uniform(Purpose::kCandidate, static_cast<uint32_t>(p)));
      out.candidate[p] = token;
      out.candidate_logprob[p] = log_prob(row.logits[static_cast<size_t>(token)]);
    }
    if (wanted.has(Statistic::kCurrent)) out.current_logprob[p] = log_prob(row.logits[static_cast<size_t>(current)]);
    if (wanted.has(Statistic::kUntempered)) {
      out.argmax_logprob_t1[p] = static_cast<float>(-std::log(row.plain.z));
      out.entropy_t1_nats[p] = static_cast<float>(row.plain.entropy());
    }
    if (wanted.has(Statistic::kDivergence))
      out.kl_nats[p] = request.previous_logits.empty() ? std::numeric_limits<float>::infinity()
                                                       : static_cast<float>(divergence(whole.logits, whole.best_logit,
                                                                                       request.previous_logits.subspan((p - begin) * V, V)));
    if (wanted.has(Statistic::kAlternative) && request.draw_key)
      out.alternative[p] = row.draw_other(greedy ? 0.0 : request.draw_key->uniform(Purpose::kAlternative, static_cast<uint32_t>(p)), current);
  }
}

int32_t draw_token(std::span<const float> logits, float temperature, double uniform) {
  Row row;
  row.inverse_t = temperature == 0 ? 1.0 : 1.0 / static_cast<double>(temperature);
  row.begin(logits);
  if (!row.scan(false)) throw NonFiniteLogits(0);
  return temperature == 0 ? row.best : row.draw(uniform);
}

}  // namespace canvaslab
