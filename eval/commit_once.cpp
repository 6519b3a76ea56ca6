#include "eval/commit_once.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

std::vector<uint32_t> merged(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  std::vector<uint32_t> out(a.begin(), a.end());
  out.insert(out.end(), b.begin(), b.end());
  std::sort(out.begin(), out.end());
  return out;
}

/// Shortest paths over how many positions are committed: cost(m, b) of committing b more after m. Element n - 1: sizes
/// for n rounds.
std::vector<SizePlan> best_sizes(size_t length, const std::function<double(size_t, size_t)>& cost) {
  std::vector<std::vector<double>> least(length + 1, std::vector<double>(length + 1, kNever));  // [rounds, committed]
  std::vector<std::vector<size_t>> last(length + 1, std::vector<size_t>(length + 1, 0));
  std::vector<std::vector<double>> costs(length, std::vector<double>(length + 1, 0));
  for (size_t m = 0; m < length; ++m)
    for (size_t b = 1; m + b <= length; ++b) costs[m][b] = cost(m, b);
  least[0][0] = 0;
  for (size_t n = 1; n <= length; ++n)
    for (size_t m = 0; m < length; ++m)
      for (size_t b = 1; m + b <= length; ++b)
        if (const double total = least[n - 1][m] + costs[m][b]; total < least[n][m + b]) least[n][m + b] = total, last[n][m + b] = b;
  std::vector<SizePlan> out(length);
  for (size_t n = 1; n <= length; ++n) {
    out[n - 1].kl_nats = least[n][length];
    for (size_t m = length, k = n; k > 0; m -= last[k--][m]) out[n - 1].sizes.push_back(last[k][m]);
    std::reverse(out[n - 1].sizes.begin(), out[n - 1].sizes.end());
  }
  return out;
}

std::vector<std::vector<uint32_t>> cut(std::span<const uint32_t> order, std::span<const size_t> sizes) {
  std::vector<std::vector<uint32_t>> rounds;
  size_t begin = 0;
  for (const size_t size : sizes) {
    const auto part = order.subspan(begin, size);
    rounds.emplace_back(part.begin(), part.end());
    std::sort(rounds.back().begin(), rounds.back().end());
    begin += size;
  }
  return rounds;
}

/// Tokens of a canvas at the positions of a subset, as one index.
size_t projected(size_t index, size_t subset, size_t length, size_t vocabulary) {
  size_t out = 0, place = 1;
  for (size_t p = length; p-- > 0; index /= vocabulary) {
    if (!(subset >> p & 1)) continue;
    out += index % vocabulary * place;
    place *= vocabulary;
  }
  return out;
}

std::vector<double> marginal(std::span<const double> law, size_t subset, size_t length, size_t vocabulary) {
  size_t cells = 1;
  for (int i = std::popcount(subset); i > 0; --i) cells *= vocabulary;
  std::vector<double> out(cells, 0.0);
  for (size_t i = 0; i < law.size(); ++i) out[projected(i, subset, length, vocabulary)] += law[i];
  return out;
}

size_t mask_of(std::span<const uint32_t> positions) {
  size_t out = 0;
  for (const uint32_t p : positions) out |= size_t{1} << p;
  return out;
}

}  // namespace

double plan_divergence(const std::vector<std::vector<uint32_t>>& rounds, const SubsetEntropy& entropy) {
  std::vector<uint32_t> committed;
  double total = 0, before = 0;
  for (const auto& round : rounds) {
    for (const uint32_t p : round) total += entropy(merged(committed, std::span(&p, 1))) - before;
    committed = merged(committed, round);
    const double after = entropy(committed);
    total -= after - before;
    before = after;
  }
  return total;
}

std::vector<double> plan_law(const std::vector<std::vector<uint32_t>>& rounds, std::span<const double> law, size_t length, int32_t vocabulary) {
  const auto V = static_cast<size_t>(vocabulary);
  std::vector<double> out(law.size(), 1.0);
  size_t committed = 0;
  for (const auto& round : rounds) {
    const auto given = marginal(law, committed, length, V);
    for (const uint32_t p : round) {
      const size_t with = committed | size_t{1} << p;
      const auto joint = marginal(law, with, length, V);
      for (size_t i = 0; i < out.size(); ++i) {
        const double context = given[projected(i, committed, length, V)];
        if (out[i] > 0 && !(context > 0)) throw usage_error("the law of a plan: it can commit tokens that are impossible together (canvas {}), after which nothing follows", i);
        if (out[i] > 0) out[i] *= joint[projected(i, with, length, V)] / context;
      }
    }
    committed |= mask_of(round);
  }
  return out;
}

std::vector<double> subset_entropies(std::span<const double> law, size_t length, int32_t vocabulary) {
  std::vector<double> out(size_t{1} << length, 0.0);
  for (size_t subset = 1; subset < out.size(); ++subset)
    for (const double p : marginal(law, subset, length, static_cast<size_t>(vocabulary)))
      if (p > 0) out[subset] -= p * std::log(p);
  return out;
}

SubsetEntropy tabulated_entropy(std::vector<double> entropies) {
  return [entropies = std::move(entropies)](std::span<const uint32_t> positions) { return entropies.at(mask_of(positions)); };
}

std::vector<CommitPlan> best_plans(std::span<const double> entropies, size_t length) {
  constexpr size_t kMostPositions = 14;  // 3^14 = 4.8 million pairs of subsets a round
  if (length > kMostPositions) throw usage_error("best plans of {} positions: at most {} can be searched through all subsets", length, kMostPositions);
  const size_t count = size_t{1} << length;
  std::vector<std::vector<double>> least(length + 1, std::vector<double>(count, kNever));  // [rounds, committed]
  std::vector<std::vector<size_t>> last(length + 1, std::vector<size_t>(count, 0));
  least[0][0] = 0;
  for (size_t n = 1; n <= length; ++n)
    for (size_t after = 1; after < count; ++after)
      for (size_t round = after; round > 0; round = (round - 1) & after) {
        const size_t before = after ^ round;
        if (least[n - 1][before] == kNever) continue;
        double total = least[n - 1][before] - entropies[after] + entropies[before];
        for (size_t p = 0; p < length; ++p)
          if (round >> p & 1) total += entropies[before | size_t{1} << p] - entropies[before];
        if (total < least[n][after]) least[n][after] = total, last[n][after] = round;
      }
  std::vector<CommitPlan> out(length);
  for (size_t n = 1; n <= length; ++n) {
    out[n - 1].kl_nats = least[n][count - 1];
    for (size_t after = count - 1, k = n; k > 0; after ^= last[k--][after]) {
      auto& round = out[n - 1].rounds.emplace_back();
      for (uint32_t p = 0; p < length; ++p)
        if (last[k][after] >> p & 1) round.push_back(p);
    }
    std::reverse(out[n - 1].rounds.begin(), out[n - 1].rounds.end());
  }
  return out;
}

std::vector<CommitPlan> best_plans_along(std::span<const uint32_t> order, const SubsetEntropy& entropy) {
  const size_t length = order.size();
  std::vector<double> prefix(length + 1, 0.0);
  std::vector<std::vector<double>> apart(length);  // [m][b]: sum of H(i | first m) over the b that follow
  for (size_t m = 0; m <= length; ++m) prefix[m] = entropy(merged(order.first(m), {}));
  for (size_t m = 0; m < length; ++m) {
    apart[m].assign(length - m + 1, 0.0);
    for (size_t b = 1; m + b <= length; ++b) apart[m][b] = apart[m][b - 1] + entropy(merged(order.first(m), order.subspan(m + b - 1, 1))) - prefix[m];
  }
  std::vector<CommitPlan> out;
  for (const auto& plan : best_sizes(length, [&](size_t m, size_t b) { return apart[m][b] - (prefix[m + b] - prefix[m]); }))
    out.push_back({.rounds = cut(order, plan.sizes), .kl_nats = plan.kl_nats});
  return out;
}

std::vector<uint32_t> contiguous_order(size_t length) {
  std::vector<uint32_t> out(length);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

std::vector<uint32_t> dilated_order(size_t length) {
  std::vector<uint32_t> out;
  const size_t whole = std::bit_ceil(length);
  for (size_t stride = whole; stride > 0; stride /= 2)
    for (size_t p = stride == whole ? 0 : stride; p < length; p += stride == whole ? whole : 2 * stride) out.push_back(static_cast<uint32_t>(p));
  return out;
}

std::vector<SizePlan> best_random_sizes(std::span<const double> mean) {
  return best_sizes(mean.size() - 1, [&](size_t m, size_t b) { return static_cast<double>(b) * (mean[m + 1] - mean[m]) - (mean[m + b] - mean[m]); });
}

std::vector<double> mean_entropy_by_size(std::span<const double> entropies) {
  const auto length = static_cast<size_t>(std::countr_zero(entropies.size()));
  std::vector<double> sum(length + 1, 0.0), count(length + 1, 0.0);
  for (size_t subset = 0; subset < entropies.size(); ++subset) {
    const auto size = static_cast<size_t>(std::popcount(subset));
    sum[size] += entropies[subset], count[size] += 1;
  }
  for (size_t size = 0; size <= length; ++size) sum[size] /= count[size];
  return sum;
}

}  // namespace canvaslab
