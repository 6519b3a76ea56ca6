#include "core/row_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

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
  double inverse_t;
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
    row.best = row.second = -1;
    row.best_logit = row.second_logit = -std::numeric_limits<float>::infinity();
    row.tempered = row.plain = {};
    row.merged_max = -std::numeric_limits<double>::infinity();
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
