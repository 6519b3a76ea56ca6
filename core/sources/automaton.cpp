#include "core/sources/automaton.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/error.h"

namespace canvaslab {

Automaton::Automaton(const BlockLaw& law)
    : vocabulary_(law.vocabulary), slip_(law.slip), equal_weights_(!law.weight), layers_(law.length) {
  constexpr size_t kMostEdges = 4'000'000;
  std::vector<uint64_t> states = {law.start};
  std::vector<std::pair<int32_t, uint64_t>> next;
  size_t num_edges = 0;
  for (size_t l = 0; l < law.length; ++l) {
    std::unordered_map<uint64_t, uint32_t> index;
    std::vector<uint64_t> reached;
    layers_[l].nodes = states.size() + 1;  // the last node is the uniform block's
    for (uint32_t from = 0; from < states.size(); ++from) {
      next.clear();
      law.successors(states[from], l, next);
      for (const auto& [token, state] : next) {
        const auto [found, is_new] = index.emplace(state, static_cast<uint32_t>(reached.size()));
        if (is_new) reached.push_back(state);
        layers_[l].edges.push_back({.from = from, .to = found->second, .token = token, .probability = 0});
      }
      num_edges += next.size();
      if (num_edges > kMostEdges) throw usage_error("the source needs more than {} edges; use a smaller alphabet or block", kMostEdges);
    }
    states = std::move(reached);
  }
  // Weights from the end: an edge is as likely as the blocks behind it weigh.
  std::vector<double> mass(states.size(), 1.0);
  for (size_t i = 0; law.weight && i < states.size(); ++i) mass[i] = law.weight(states[i]);
  for (size_t l = law.length; l-- > 0;) {
    Layer& layer = layers_[l];
    std::vector<double> before(layer.nodes, 0.0);
    for (const Edge& e : layer.edges) before[e.from] += mass[e.to];
    for (Edge& e : layer.edges) e.probability = before[e.from] > 0 ? mass[e.to] / before[e.from] : 0;
    const bool last = l + 1 == law.length;
    for (Edge& e : layer.edges) e.to = last ? 0 : e.to;
    const auto uniform = static_cast<uint32_t>(layer.nodes - 1);
    for (int32_t v = 0; v < vocabulary_; ++v)
      layer.edges.push_back({.from = uniform, .to = last ? 0 : static_cast<uint32_t>(layers_[l + 1].nodes - 1), .token = v,
                             .probability = 1.0 / vocabulary_});
    mass = std::move(before);
  }
  num_blocks_ = mass[0];
  if (!(num_blocks_ > 0)) throw usage_error("the source allows no sequence at all");
  start_ = {1 - slip_, slip_};
}

/// Law over the next layer's nodes, not normalised: its sum is the evidence's probability.
std::vector<double> Automaton::step(const std::vector<double>& law, size_t layer, const Evidence& seen) const {
  const bool last = layer + 1 == layers_.size();
  std::vector<double> out(last ? 1 : layers_[layer + 1].nodes, 0.0);
  for (const Edge& e : layers_[layer].edges)
    out[e.to] += law[e.from] * e.probability * (seen.floor + (e.token == seen.token ? seen.gain : 0.0));
  if (!last) return out;
  const double sum = out[0];
  out = start_;
  for (double& p : out) p *= sum;
  return out;
}

void Automaton::advance(SourceState& state, std::span<const int32_t> tokens) const {
  for (size_t p = 0; p < tokens.size(); ++p) {
    auto next = step(state.weights, state.position % layers_.size(), {.token = tokens[p], .gain = 1, .floor = 0});
    double sum = 0;
    for (double x : next) sum += x;
    if (!(sum > 0)) impossible(p, tokens[p]);
    for (double& x : next) x /= sum;
    state.weights = std::move(next);
    ++state.position;
  }
}

std::vector<double> Automaton::posterior(const SourceState& state, std::span<const Evidence> canvas, double* log_evidence) const {
  const size_t V = static_cast<size_t>(vocabulary_), L = canvas.size(), B = layers_.size();
  std::vector<std::vector<double>> before(L + 1);  // law over nodes given what is left of the position
  before[0] = state.weights;
  double log_total = 0;
  for (size_t p = 0; p < L; ++p) {
    before[p + 1] = step(before[p], (state.position + p) % B, canvas[p]);
    double sum = 0;
    for (double x : before[p + 1]) sum += x;
    if (!(sum > 0)) impossible(p, canvas[p].token);
    for (double& x : before[p + 1]) x /= sum;
    log_total += std::log(sum);
  }
  std::vector<double> out(L * V, 0.0), after(before[L].size(), 1.0);  // after: likelihood of what is right of the position
  for (size_t p = L; p-- > 0;) {
    const Layer& layer = layers_[(state.position + p) % B];
    if ((state.position + p + 1) % B == 0) {  // all nodes behind the border are one: the start of a block
      double next = 0;
      for (size_t n = 0; n < start_.size(); ++n) next += start_[n] * after[n];
      after = {next};
    }
    std::vector<double> here(layer.nodes, 0.0);
    for (const Edge& e : layer.edges) {
      const double ahead = e.probability * (canvas[p].floor + (e.token == canvas[p].token ? canvas[p].gain : 0.0)) * after[e.to];
      here[e.from] += ahead;
      out[p * V + static_cast<size_t>(e.token)] += before[p][e.from] * ahead;
    }
    double sum = 0, best = 0;
    for (size_t v = 0; v < V; ++v) sum += out[p * V + v];
    for (size_t v = 0; v < V; ++v) out[p * V + v] /= sum;
    for (double x : here) best = std::max(best, x);
    for (double& x : here) x /= best;
    after = std::move(here);
  }
  if (log_evidence) *log_evidence += log_total;
  return out;
}

double Automaton::block_entropy() const {
  const auto term = [](double p) { return p > 0 ? -p * std::log(p) : 0.0; };
  const double uniform = std::exp(-static_cast<double>(layers_.size()) * std::log(vocabulary_));  // of one sequence
  const double outside = slip_ > 0 ? -slip_ * std::log(slip_ * uniform) : 0;  // if every sequence lay outside
  if (equal_weights_) return num_blocks_ * term((1 - slip_) / num_blocks_ + slip_ * uniform) + (1 - num_blocks_ * uniform) * outside;
  double inside = 0, covered = 0;
  const std::function<void(size_t, uint32_t, double)> visit = [&](size_t l, uint32_t node, double p) {
    if (l == layers_.size()) {
      inside += term((1 - slip_) * p + slip_ * uniform);
      covered += uniform;
      return;
    }
    const auto& edges = layers_[l].edges;
    auto e = std::lower_bound(edges.begin(), edges.end(), node, [](const Edge& edge, uint32_t from) { return edge.from < from; });
    for (; e != edges.end() && e->from == node; ++e)
      if (e->probability > 0) visit(l + 1, e->to, p * e->probability);
  };
  visit(0, 0, 1);
  return inside + std::max(0.0, 1 - covered) * outside;
}

double Automaton::entropy_rate_nats() const { return block_entropy() / static_cast<double>(layers_.size()); }

std::vector<double> Automaton::pair_law() const {
  const size_t V = static_cast<size_t>(vocabulary_), B = layers_.size();
  std::vector<double> out(V * V, 0.0), first(V, 0.0), last(V, 0.0), law = start_;
  for (size_t l = 0; l < B; ++l) {
    const Layer& layer = layers_[l];
    const bool ends = l + 1 == B;
    std::vector<double> next(ends ? 1 : layers_[l + 1].nodes, 0.0);
    std::vector<double> by_token(ends ? 0 : next.size() * V, 0.0);  // [node, token that led there]
    for (const Edge& e : layer.edges) {
      const double p = law[e.from] * e.probability;
      next[e.to] += p;
      if (!ends) by_token[e.to * V + static_cast<size_t>(e.token)] += p;
      if (l == 0) first[static_cast<size_t>(e.token)] += p;
      if (ends) last[static_cast<size_t>(e.token)] += p;
    }
    if (!ends)
      for (const Edge& e : layers_[l + 1].edges)
        for (size_t a = 0; a < V; ++a) out[a * V + static_cast<size_t>(e.token)] += by_token[e.from * V + a] * e.probability;
    law = std::move(next);
  }
  for (size_t a = 0; a < V; ++a)
    for (size_t b = 0; b < V; ++b) out[a * V + b] = (out[a * V + b] + last[a] * first[b]) / static_cast<double>(B);
  return out;
}

}  // namespace canvaslab
