#include "core/row_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace canvaslab {
namespace {

constexpr int kTile = 1024;  // candidate rescan unit: 4 KiB of logits, well inside the first-level cache

/// Running softmax sums of one row at one temperature: z = sum e^d, s = sum d e^d with d = (l - max) / T.
struct RunningSoftmax {
  double z = 0, s = 0;
  void rescale(double shift) {  // shift = (old max - new max) / T <= 0
    const double factor = std::exp(shift);
    s = (s + shift * z) * factor;
    z *= factor;
  }
  double entropy() const { return std::max(0.0, std::log(z) - s / z); }
};

struct Row {
  std::span<const float> logits;
  double inverse_t = 1;

  void begin(std::span<const float> row) {
    logits = row;
    best = second = -1;
    best_logit = second_logit = -std::numeric_limits<float>::infinity();
    tempered = plain = {};
    merged_max = -std::numeric_limits<double>::infinity();
  }
  int32_t best = -1, second = -1;
  float best_logit = -std::numeric_limits<float>::infinity();
  float second_logit = -std::numeric_limits<float>::infinity();
  RunningSoftmax tempered, plain;
  std::vector<double> tile_z, tile_max;  // partial sums in units of each tile's own maximum

  bool scan(bool want_plain) {
    const size_t vocabulary = logits.size();
    tile_z.clear();
    tile_max.clear();
    bool finite = true;
    for (size_t first = 0; first < vocabulary; first += kTile) {
      const size_t last = std::min(vocabulary, first + kTile);
      float tile_best = -std::numeric_limits<float>::infinity();
      for (size_t v = first; v < last; ++v) {
        const float logit = logits[v];
        finite = finite && !(std::isnan(logit) || logit == std::numeric_limits<float>::infinity());
        tile_best = std::max(tile_best, logit);
        if (logit > best_logit) {
          second = best;
          second_logit = best_logit;
          best = static_cast<int32_t>(v);
          best_logit = logit;
        } else if (logit > second_logit) {
          second = static_cast<int32_t>(v);
          second_logit = logit;
        }
      }
      if (!finite) return false;
      RunningSoftmax t, p;
      if (tile_best > -std::numeric_limits<float>::infinity()) {
        for (size_t v = first; v < last; ++v) {
          const double gap = static_cast<double>(logits[v]) - tile_best;
          if (std::isinf(gap)) continue;  // 0 * inf would be NaN
          const double d = gap * inverse_t, e = std::exp(d);
          t.z += e;
          t.s += d * e;
          if (want_plain) {
            const double e1 = std::exp(gap);
            p.z += e1;
            p.s += gap * e1;
          }
        }
        merge(tempered, t, tile_best, inverse_t);
        if (want_plain) merge(plain, p, tile_best, 1.0);
        merged_max = std::max<double>(merged_max, tile_best);
      }
      tile_z.push_back(t.z);
      tile_max.push_back(tile_best);
    }
    return std::isfinite(best_logit);
  }

  int32_t draw(double u) const {
    // Weights of tiles relative to the row maximum; then the winning tile is rescanned.
    double target = u * tempered.z;
    size_t tile = 0, last_live = 0;
    bool found = false;
    for (size_t i = 0; i < tile_z.size(); ++i) {
      if (tile_z[i] == 0) continue;
      const double weight = tile_z[i] * std::exp((tile_max[i] - best_logit) * inverse_t);
      last_live = i;
      if (target < weight) {
        tile = i;
        found = true;
        break;
      }
      target -= weight;
    }
    if (!found) tile = last_live;
    const size_t first = tile * kTile, last = std::min(logits.size(), first + kTile);
    int32_t fallback = best;
    for (size_t v = first; v < last; ++v) {
      const double e = std::exp((static_cast<double>(logits[v]) - best_logit) * inverse_t);
      if (e == 0) continue;
      fallback = static_cast<int32_t>(v);
      if (target < e) return fallback;
      target -= e;
    }
    return fallback;  // rounding left a sliver beyond the last token
  }

  /// A token other than `skip`, by the same inversion over what is left.
  int32_t draw_other(double u, int32_t skip) const {
    const auto weight_of = [&](size_t v) { return std::exp((static_cast<double>(logits[v]) - best_logit) * inverse_t); };
    const size_t own = static_cast<size_t>(skip) / kTile;
    double total = 0;
    std::vector<double> weight(tile_z.size(), 0.0);
    for (size_t i = 0; i < tile_z.size(); ++i) {
      if (i == own) {  // anew, for the difference of nearly equal sums would be noise
        for (size_t v = i * kTile; v < std::min(logits.size(), (i + 1) * kTile); ++v) weight[i] += v == static_cast<size_t>(skip) ? 0 : weight_of(v);
      } else if (tile_z[i] != 0) {
        weight[i] = tile_z[i] * std::exp((tile_max[i] - best_logit) * inverse_t);
      }
      total += weight[i];
    }
    int32_t fallback = best != skip ? best : second >= 0 ? second : (skip == 0 && logits.size() > 1 ? 1 : 0);
    double target = u * total;
    for (size_t i = 0; i < weight.size(); ++i) {
      if (target >= weight[i]) {
        target -= weight[i];
        continue;
      }
      for (size_t v = i * kTile; v < std::min(logits.size(), (i + 1) * kTile); ++v) {
        const double e = v == static_cast<size_t>(skip) ? 0 : weight_of(v);
        if (e == 0) continue;
        fallback = static_cast<int32_t>(v);
        if (target < e) return fallback;
        target -= e;
      }
      break;
    }
    return fallback;
  }
  double log_prob(float logit) const { return (static_cast<double>(logit) - best_logit) * inverse_t - std::log(tempered.z); }

  double merged_max = -std::numeric_limits<double>::infinity();

 private:
  void merge(RunningSoftmax& into, RunningSoftmax tile, double tile_best, double inverse) const {
    if (into.z == 0) {
      into = tile;
      return;
    }
    if (tile_best > merged_max) into.rescale((merged_max - tile_best) * inverse);
    else tile.rescale((tile_best - merged_max) * inverse);
    into.z += tile.z;
    into.s += tile.s;
  }
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

/// KL(softmax(now) || softmax(before)), nats; `z` and `best` are those of `now` at temperature 1.
double divergence(std::span<const float> now, double best, double z, std::span<const float> before) {
  double best_before = -INFINITY, z_before = 0, gap = 0;
  for (float l : before) best_before = std::max<double>(best_before, l);
  for (float l : before) z_before += std::exp(l - best_before);
  for (size_t v = 0; v < now.size(); ++v) {
    const double e = std::exp(now[v] - best);
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
  const bool want_plain = wanted.has(Statistic::kUntempered) || wanted.has(Statistic::kDivergence);
  Row whole, filtered;
  whole.inverse_t = filtered.inverse_t = greedy ? 1.0 : 1.0 / static_cast<double>(request.temperature);
  std::vector<float> kept;
  for (size_t p = begin; p < end; ++p) {
    whole.begin(logits.subspan((p - begin) * V, V));
    if (!whole.scan(want_plain)) throw NonFiniteLogits(p);
    const Row* drawn = &whole;
    if (request.filters.any()) {
      filter_row(whole, request.filters, kept);
      filtered.begin(kept);
      filtered.scan(want_plain);
      drawn = &filtered;
    }
    const Row& row = request.filters.filtered_statistics ? *drawn : whole;
    const auto log_prob = [&](float logit) { return static_cast<float>(row.log_prob(logit)); };
    const auto current = wanted.has(Statistic::kCurrent) || wanted.has(Statistic::kAlternative) ? request.canvas[p] : 0;
    if (wanted.has(Statistic::kMax)) {
      out.argmax[p] = row.best;
      out.argmax_logprob[p] = log_prob(row.best_logit);
    }
    if (wanted.has(Statistic::kTop2)) {
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
                                                       : static_cast<float>(divergence(whole.logits, whole.best_logit, whole.plain.z,
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
