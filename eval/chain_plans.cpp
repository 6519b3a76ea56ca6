#include "eval/chain_plans.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace canvaslab {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// What is committed at the two sides of a gap of open positions.
enum Sides { kNeither, kLeft, kBoth };  // a gap with only its right side committed is the mirror image of kLeft

/// Least cost of filling gaps, by rounds left. Within a gap of `size` positions numbered 1..size the round's members form a
/// path from the left end (0) to the right end (size + 1); each hop leaves a smaller gap for the rounds that follow.
class GapPlans {
 public:
  GapPlans(const ChainEntropies& chain, size_t length, size_t rounds) : chain_(chain), least_(rounds + 1), members_(rounds + 1) {
    for (size_t n = 0; n <= rounds; ++n)
      for (int sides = 0; sides < 3; ++sides) {
        least_[n][sides].assign(length + 1, n == 0 ? kNever : 0);
        least_[n][sides][0] = 0;
        members_[n][sides].resize(length + 1);
        for (size_t size = 1; n > 0 && size + static_cast<size_t>(sides) <= length; ++size) solve(n, static_cast<Sides>(sides), size);
      }
  }
  double least(size_t rounds, size_t length) const { return least_[rounds][kNeither][length]; }

  /// Adds the members of each round of a gap that begins at `first`; `mirrored`: it is numbered from its right end.
  void collect(size_t n, Sides sides, size_t size, size_t first, bool mirrored, size_t round, std::vector<std::vector<uint32_t>>& out) const {
    if (size == 0) return;
    const auto& members = members_[n][sides][size];
    const auto place = [&](size_t p) { return first + (mirrored ? size - p : p - 1); };
    for (const size_t p : members) out[round].push_back(static_cast<uint32_t>(place(p)));
    size_t from = 0;
    for (size_t i = 0; i <= members.size(); ++i) {
      const size_t to = i < members.size() ? members[i] : size + 1;
      if (to - from > 1) {
        const bool open_left = from == 0 && sides == kNeither, open_right = to == size + 1 && sides != kBoth;
        const Sides inner = open_left && open_right ? kNeither : open_left || open_right ? kLeft : kBoth;
        const size_t begin = mirrored ? place(to - 1) : place(from + 1);
        collect(n - 1, inner, to - from - 1, begin, inner == kLeft && (open_left != mirrored), round + 1, out);
      }
      from = to;
    }
  }

 private:
  double given(size_t distance) const { return chain_.given[distance]; }
  /// H(member | committed sides).
  double alone(Sides sides, size_t size, size_t p) const {
    if (sides == kNeither) return chain_.one;
    if (sides == kLeft) return given(p);
    return given(p) + given(size + 1 - p) - given(size + 1);
  }
  void solve(size_t n, Sides sides, size_t size) {
    std::vector<double> best(size + 2, kNever);  // by place, the members up to it included
    std::vector<size_t> from(size + 2, 0);
    const auto& later = least_[n - 1];
    for (size_t p = 1; p <= size; ++p) {
      const double single = alone(sides, size, p);
      best[p] = single + (sides == kNeither ? later[kLeft][p - 1] - chain_.one : later[kBoth][p - 1] - given(p));
      for (size_t q = 1; q < p; ++q)
        if (const double total = best[q] + single - given(p - q) + later[kBoth][p - q - 1]; total < best[p]) best[p] = total, from[p] = q;
    }
    double& least = least_[n][sides][size] = kNever;
    size_t last = 0;
    for (size_t p = 1; p <= size; ++p) {
      const double end = sides == kBoth ? later[kBoth][size - p] - given(size + 1 - p) + given(size + 1) : later[kLeft][size - p];
      if (best[p] + end < least) least = best[p] + end, last = p;
    }
    for (auto& members = members_[n][sides][size]; last > 0; last = from[last]) members.insert(members.begin(), last);
  }

  const ChainEntropies& chain_;
  std::vector<std::array<std::vector<double>, 3>> least_;                 // [rounds left][sides][size]
  std::vector<std::array<std::vector<std::vector<size_t>>, 3>> members_;  // of the first of these rounds
};

}  // namespace

ChainEntropies chain_entropies(std::span<const double> pair_law, int32_t vocabulary, size_t length) {
  const auto V = static_cast<size_t>(vocabulary);
  std::vector<double> stationary(V, 0.0), transition(pair_law.begin(), pair_law.end());
  for (size_t a = 0; a < V; ++a)
    for (size_t b = 0; b < V; ++b) stationary[a] += pair_law[a * V + b];
  for (size_t a = 0; a < V; ++a)
    for (size_t b = 0; b < V && stationary[a] > 0; ++b) transition[a * V + b] /= stationary[a];
  ChainEntropies out;
  for (const double p : stationary) out.one -= p > 0 ? p * std::log(p) : 0;
  out.given.assign(1, 0.0);
  std::vector<double> power = transition, next(V * V);
  for (size_t distance = 1; distance <= length; ++distance) {
    double entropy = 0;
    for (size_t a = 0; a < V; ++a)
      for (size_t b = 0; b < V; ++b)
        if (const double p = power[a * V + b]; p > 0) entropy -= stationary[a] * p * std::log(p);
    out.given.push_back(entropy);
    std::fill(next.begin(), next.end(), 0.0);
    for (size_t a = 0; a < V; ++a)
      for (size_t m = 0; m < V; ++m)
        for (size_t b = 0; b < V; ++b) next[a * V + b] += power[a * V + m] * transition[m * V + b];
    power.swap(next);
  }
  return out;
}

SubsetEntropy chain_entropy(const ChainEntropies& chain) {
  return [chain](std::span<const uint32_t> positions) {
    double out = positions.empty() ? 0 : chain.one;
    for (size_t i = 1; i < positions.size(); ++i) out += chain.given[positions[i] - positions[i - 1]];
    return out;
  };
}

std::vector<double> chain_mean_entropy(const ChainEntropies& chain, size_t length) {
  // Of the C(L, m) subsets of size m, (L - d) C(L - d - 1, m - 2) have two neighbouring members at distance d.
  const auto log_choose = [](size_t n, size_t k) { return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(static_cast<double>(n - k) + 1.0); };
  std::vector<double> out(length + 1, 0.0);
  for (size_t m = 1; m <= length; ++m) {
    out[m] = chain.one;
    for (size_t d = 1; m >= 2 && d + m <= length + 1; ++d)
      out[m] += static_cast<double>(length - d) * std::exp(log_choose(length - d - 1, m - 2) - log_choose(length, m)) * chain.given[d];
  }
  return out;
}

std::vector<CommitPlan> best_chain_plans(const ChainEntropies& chain, size_t length, size_t most_rounds) {
  const GapPlans gaps(chain, length, most_rounds);
  std::vector<CommitPlan> out;
  for (size_t n = 1; n <= most_rounds; ++n) {
    CommitPlan plan{.rounds = std::vector<std::vector<uint32_t>>(n), .kl_nats = gaps.least(n, length)};
    gaps.collect(n, kNeither, length, 0, false, 0, plan.rounds);
    std::erase_if(plan.rounds, [](const auto& round) { return round.empty(); });
    for (auto& round : plan.rounds) std::sort(round.begin(), round.end());
    out.push_back(std::move(plan));
  }
  return out;
}

}  // namespace canvaslab
