#include "eval/attribution.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <memory>

#include "core/error.h"
#include "core/philox.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// |S|! (k - 1 - |S|)! / k! = 1 / (k C(k - 1, |S|)), for |S| = 0 ... k - 1.
std::vector<double> join_weights(size_t k) {
  std::vector<double> out(k);
  double choose = 1;
  for (size_t size = 0; size < k; ++size) {
    out[size] = 1 / (static_cast<double>(k) * choose);
    choose = choose * static_cast<double>(k - 1 - size) / static_cast<double>(size + 1);
  }
  return out;
}

/// Mean and variance of a stream of numbers (Welford's recurrence).
struct Spread {
  double mean = 0, squares = 0, count = 0;
  void add(double x) {
    count += 1;
    const double before = x - mean;
    mean += before / count;
    squares += before * (x - mean);
  }
  double deviation() const { return count > 1 ? std::sqrt(squares / (count - 1)) : 0; }
};

void add_spread(FactorPart& part, const Spread& spread) {
  part.standard_error = spread.deviation();
  part.bias = spread.mean - part.contribution;
  part.interval = {part.contribution - kZ95 * part.standard_error, part.contribution + kZ95 * part.standard_error};
}

/// The pairs that one mixture ever writes, numbered, and where each item wrote which. All pairs that it never writes are one
/// cell more: where p is 0, a cell adds q ln 2 / 2 to the divergence, so that joining such cells changes nothing.
struct PairCells {
  std::vector<double> exact;                       // [cells + 1]
  std::vector<std::vector<uint32_t>> of_item;      // [items][pairs] cell

  PairCells(const std::vector<std::vector<std::vector<int32_t>>>& items, const std::vector<double>& law, size_t vocabulary) : of_item(items.size()) {
    std::map<size_t, uint32_t> cell;
    for (size_t i = 0; i < items.size(); ++i)
      for (const auto& tokens : items[i])
        for (size_t p = 0; p + 1 < tokens.size(); ++p) {
          const size_t pair = static_cast<size_t>(tokens[p]) * vocabulary + static_cast<size_t>(tokens[p + 1]);
          const auto [at, is_new] = cell.try_emplace(pair, static_cast<uint32_t>(exact.size()));
          if (is_new) exact.push_back(law[pair]);
          of_item[i].push_back(at->second);
        }
    double rest = 0;
    for (size_t pair = 0; pair < law.size(); ++pair)
      if (!cell.contains(pair)) rest += law[pair];
    exact.push_back(rest);
  }
  double divergence(std::span<const uint32_t> weights) const {
    std::vector<double> law(exact.size());
    double total = 0;
    for (size_t i = 0; i < of_item.size(); ++i) {
      if (weights[i] == 0) continue;
      for (const uint32_t cell : of_item[i]) law[cell] += weights[i];
      total += static_cast<double>(weights[i]) * static_cast<double>(of_item[i].size());
    }
    for (double& p : law) p /= std::max(1.0, total);
    return jensen_shannon(law, exact);
  }
};

}  // namespace

std::vector<double> shapley_values(std::span<const double> values) {
  const auto k = static_cast<size_t>(std::bit_width(values.size()) - 1);
  if (!std::has_single_bit(values.size())) throw std::logic_error(fmt::format("a game of k players has 2^k values, not {}", values.size()));
  const auto weights = join_weights(k);
  std::vector<double> out(k);
  for (size_t i = 0; i < k; ++i)
    for (size_t with = 0; with < values.size(); ++with) {
      if (!(with >> i & 1)) continue;
      const size_t without = with ^ (size_t{1} << i);
      out[i] += weights[static_cast<size_t>(std::popcount(without))] * (values[with] - values[without]);
    }
  return out;
}

DifferenceParts take_apart(const MixtureValues& values, size_t num_items, uint64_t seed, uint32_t draws) {
  if (num_items < 2) throw usage_error("intervals over items need at least two items; there is {}", num_items);
  if (draws < 2) throw usage_error("intervals need at least two bootstrap draws; there is {}", draws);
  DifferenceParts out;
  const std::vector<uint32_t> once(num_items, 1);
  out.values = values(once);
  const size_t all = out.values.size() - 1;
  const auto contributions = shapley_values(out.values);
  out.a = out.values[0], out.b = out.values[all];
  out.total.contribution = out.total.alone = out.total.last = out.b - out.a;
  for (size_t i = 0; i < contributions.size(); ++i) {
    const size_t bit = size_t{1} << i;
    out.factors.push_back({.contribution = contributions[i], .standard_error = 0, .bias = 0, .interval = {}, .alone = out.values[bit] - out.a, .last = out.b - out.values[all ^ bit]});
  }
  std::vector<Spread> spread(contributions.size());
  Spread total;
  for (uint32_t draw = 0; draw < draws; ++draw) {
    const DrawKey key{.seed = seed, .item = draw};
    std::vector<uint32_t> weights(num_items);
    for (uint32_t i = 0; i < num_items; ++i) ++weights[key.below(static_cast<uint32_t>(num_items), Purpose::kResample, i)];
    const auto drawn = values(weights);
    const auto parts = shapley_values(drawn);
    for (size_t i = 0; i < parts.size(); ++i) spread[i].add(parts[i]);
    total.add(drawn[all] - drawn[0]);
  }
  for (size_t i = 0; i < spread.size(); ++i) add_spread(out.factors[i], spread[i]);
  add_spread(out.total, total);
  return out;
}

MixtureValues mean_values(std::vector<std::vector<double>> per_item) {
  return [rows = std::move(per_item)](std::span<const uint32_t> weights) {
    std::vector<double> out;
    for (const auto& row : rows) {
      double sum = 0, count = 0;
      for (size_t i = 0; i < row.size(); ++i) {
        if (weights[i] == 0) continue;  // an item of infinite score that was not drawn does not count
        sum += weights[i] * row[i], count += weights[i];
      }
      out.push_back(sum / count);
    }
    return out;
  };
}

MixtureValues divergence_values(const std::vector<std::vector<std::vector<std::vector<int32_t>>>>& sequences, std::vector<double> exact, int32_t vocabulary) {
  auto cells = std::make_shared<std::vector<PairCells>>();
  for (const auto& mixture : sequences) cells->emplace_back(mixture, exact, static_cast<size_t>(vocabulary));
  return [cells](std::span<const uint32_t> weights) {
    std::vector<double> out;
    for (const auto& mixture : *cells) out.push_back(mixture.divergence(weights));
    return out;
  };
}

}  // namespace canvaslab
