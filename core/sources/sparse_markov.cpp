#include "core/sources/sparse_markov.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {

SparseMarkov::SparseMarkov(int32_t vocabulary, int32_t successors, double sharpness, double leak, uint64_t seed)
    : vocabulary_(vocabulary), k_(static_cast<size_t>(std::min(successors, vocabulary))), leak_(leak) {
  const auto V = static_cast<size_t>(vocabulary);
  const DrawKey key{.seed = seed};
  successor_.resize(V * k_);
  weight_.resize(V * k_);
  for (size_t r = 0; r < V; ++r) {
    int32_t* to = successor_.data() + r * k_;
    double* weight = weight_.data() + r * k_;
    double best = -INFINITY, sum = 0;
    uint32_t lane = 0;
    for (size_t i = 0; i < k_; ++i) {
      do to[i] = static_cast<int32_t>(key.below(static_cast<uint32_t>(V), Purpose::kSource, static_cast<uint32_t>(r), 16 + lane++));
      while (std::find(to, to + i, to[i]) != to + i);
      const double u = key.uniform(Purpose::kSource, static_cast<uint32_t>(r * k_ + i), 1);
      best = std::max(best, weight[i] = -sharpness * std::log(-std::log(u)));
    }
    for (size_t i = 0; i < k_; ++i) sum += weight[i] = std::exp(weight[i] - best);
    for (size_t i = 0; i < k_; ++i) weight[i] *= (1 - leak) / sum;
  }
  // Power iteration on the lazy chain (which cannot oscillate) until the law stops moving.
  stationary_.assign(V, 1.0 / static_cast<double>(V));
  for (int i = 0; i < 100000; ++i) {
    auto next = ahead(stationary_);
    double moved = 0, sum = 0;
    for (size_t v = 0; v < V; ++v) sum += next[v] = 0.5 * (next[v] + stationary_[v]);
    for (size_t v = 0; v < V; ++v) moved += std::abs((next[v] /= sum) - stationary_[v]);
    stationary_ = std::move(next);
    if (moved < 1e-15) break;
  }
}

std::vector<double> SparseMarkov::ahead(const std::vector<double>& law) const {
  double sum = 0;
  for (double p : law) sum += p;
  std::vector<double> out(law.size(), leak_ * sum / static_cast<double>(law.size()));
  for (size_t r = 0; r < law.size(); ++r)
    for (size_t i = r * k_; law[r] != 0 && i < (r + 1) * k_; ++i) out[static_cast<size_t>(successor_[i])] += law[r] * weight_[i];
  return out;
}

std::vector<double> SparseMarkov::behind(const std::vector<double>& value) const {
  double sum = 0;
  for (double x : value) sum += x;
  std::vector<double> out(value.size(), leak_ * sum / static_cast<double>(value.size()));
  for (size_t r = 0; r < value.size(); ++r)
    for (size_t i = r * k_; i < (r + 1) * k_; ++i) out[r] += weight_[i] * value[static_cast<size_t>(successor_[i])];
  return out;
}

double SparseMarkov::transition(int32_t last, int32_t next) const {
  double p = leak_ / vocabulary_;
  for (size_t i = static_cast<size_t>(last) * k_; i < (static_cast<size_t>(last) + 1) * k_; ++i)
    if (successor_[i] == next) p += weight_[i];
  return p;
}

void SparseMarkov::advance(SourceState& state, std::span<const int32_t> tokens) const {
  if (tokens.empty()) return;
  state.tokens.assign(1, tokens.back());
  state.position += tokens.size();
}

std::vector<double> SparseMarkov::posterior(const SourceState& state, std::span<const Evidence> canvas, double* log_evidence) const {
  const size_t V = static_cast<size_t>(vocabulary_), L = canvas.size();
  const auto weigh = [](std::vector<double> law, const Evidence& seen) {
    const double there = law[static_cast<size_t>(seen.token)] * (seen.floor + seen.gain);
    for (double& p : law) p *= seen.floor;
    law[static_cast<size_t>(seen.token)] = there;
    return law;
  };
  std::vector<double> law = stationary_, out(L * V);
  if (!state.tokens.empty()) {
    std::vector<double> last(V, 0.0);
    last[static_cast<size_t>(state.tokens[0])] = 1;
    law = ahead(last);
  }
  double log_total = 0;
  for (size_t p = 0; p < L; ++p) {  // out holds the filtered law of each position until the backward pass
    if (p > 0) law = ahead(law);
    law = weigh(std::move(law), canvas[p]);
    double sum = 0;
    for (double x : law) sum += x;
    if (!(sum > 0)) impossible(p, canvas[p].token);
    for (double& x : law) x /= sum;
    log_total += std::log(sum);
    std::copy(law.begin(), law.end(), out.begin() + static_cast<ptrdiff_t>(p * V));
  }
  std::vector<double> after(V, 1.0);
  for (size_t p = L; p-- > 0;) {
    double sum = 0, best = 0;
    for (size_t v = 0; v < V; ++v) sum += out[p * V + v] *= after[v];
    for (size_t v = 0; v < V; ++v) out[p * V + v] /= sum;
    after = behind(weigh(std::move(after), canvas[p]));
    for (double x : after) best = std::max(best, x);
    for (double& x : after) x /= best;
  }
  if (log_evidence) *log_evidence += log_total;
  return out;
}

double SparseMarkov::log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const {
  double total = 0;
  int32_t last = context.empty() ? -1 : context.back();
  for (int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_) return -INFINITY;
    total += std::log(last < 0 ? stationary_[static_cast<size_t>(token)] : transition(last, token));
    last = token;
  }
  return total;
}

double SparseMarkov::entropy_rate_nats() const {
  const auto V = static_cast<size_t>(vocabulary_);
  const double rest = leak_ / vocabulary_;
  double total = 0;
  for (size_t r = 0; r < V; ++r) {
    double row = rest > 0 ? -static_cast<double>(V - k_) * rest * std::log(rest) : 0;
    for (size_t i = r * k_; i < (r + 1) * k_; ++i) {
      const double p = weight_[i] + rest;
      if (p > 0) row -= p * std::log(p);
    }
    total += stationary_[r] * row;
  }
  return total;
}

std::vector<double> SparseMarkov::pair_law() const {
  const auto V = static_cast<size_t>(vocabulary_);
  std::vector<double> law(V * V);
  for (size_t r = 0; r < V; ++r) {
    for (size_t v = 0; v < V; ++v) law[r * V + v] = stationary_[r] * leak_ / vocabulary_;
    for (size_t i = r * k_; i < (r + 1) * k_; ++i) law[r * V + static_cast<size_t>(successor_[i])] += stationary_[r] * weight_[i];
  }
  return law;
}

}  // namespace canvaslab
