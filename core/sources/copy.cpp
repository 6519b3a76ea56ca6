#include "core/sources/copy.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {

CopySource::CopySource(int32_t vocabulary, int32_t span, double sharpness, double slip, uint64_t seed)
    : vocabulary_(vocabulary), span_(static_cast<size_t>(span)), slip_(slip), law_(static_cast<size_t>(vocabulary)) {
  const DrawKey key{.seed = seed};
  double best = -INFINITY, sum = 0;
  for (size_t v = 0; v < law_.size(); ++v)
    best = std::max(best, law_[v] = -sharpness * std::log(-std::log(key.uniform(Purpose::kSource, static_cast<uint32_t>(v), 1))));
  for (double& p : law_) sum += p = std::exp(p - best);
  for (double& p : law_) p /= sum;
}

void CopySource::advance(SourceState& state, std::span<const int32_t> tokens) const {
  for (int32_t token : tokens) {
    if (state.position++ % (2 * span_) == 0) state.tokens.clear();
    state.tokens.push_back(token);
  }
}

std::vector<double> CopySource::posterior(const SourceState& state, std::span<const Evidence> canvas, double* log_evidence) const {
  const size_t V = law_.size(), L = canvas.size(), block = 2 * span_;
  const auto seen = [&](size_t p, size_t v) { return canvas[p].floor + (v == static_cast<size_t>(canvas[p].token) ? canvas[p].gain : 0.0); };
  const double uniform = slip_ / static_cast<double>(V);
  std::vector<double> out(L * V);
  double log_total = 0;
  const auto normalise = [&](size_t p) {
    double sum = 0;
    for (size_t v = 0; v < V; ++v) sum += out[p * V + v];
    if (!(sum > 0)) impossible(p, canvas[p].token);
    for (size_t v = 0; v < V; ++v) out[p * V + v] /= sum;
    return sum;
  };
  for (size_t p = 0; p < L; ++p) {
    const size_t phase = (state.position + p) % block;
    if (phase < span_) {  // an original; its copy may lie in this canvas
      const size_t copy = p + span_;
      double noise = 0;  // of the copy's evidence, when it slipped
      for (size_t v = 0; copy < L && v < V; ++v) noise += seen(copy, v) / static_cast<double>(V);
      for (size_t v = 0; v < V; ++v) {
        const double repeated = copy < L ? (1 - slip_) * seen(copy, v) + slip_ * noise : 1.0;
        out[p * V + v] = law_[v] * seen(p, v) * repeated;
      }
      log_total += std::log(normalise(p));
    } else if (p >= span_) {  // a copy of a position in this canvas, which has counted its evidence
      double original = 0;
      for (size_t v = 0; v < V; ++v) original += law_[v] * seen(p - span_, v);
      for (size_t v = 0; v < V; ++v)
        out[p * V + v] = seen(p, v) * ((1 - slip_) * law_[v] * seen(p - span_, v) + uniform * original);
      normalise(p);
    } else {  // a copy of a token of the context
      const auto original = static_cast<size_t>(state.tokens[phase - span_]);
      for (size_t v = 0; v < V; ++v) out[p * V + v] = seen(p, v) * ((v == original ? 1 - slip_ : 0.0) + uniform);
      log_total += std::log(normalise(p));
    }
  }
  if (log_evidence) *log_evidence += log_total;
  return out;
}

double CopySource::entropy_rate_nats() const {
  const auto term = [](double p) { return p > 0 ? -p * std::log(p) : 0.0; };
  const double V = vocabulary_;
  double original = 0;
  for (double p : law_) original += term(p);
  return 0.5 * (original + term(1 - slip_ + slip_ / V) + (V - 1) * term(slip_ / V));
}

std::vector<double> CopySource::pair_law() const {
  const size_t V = law_.size();
  std::vector<double> copied(V), out(V * V);
  for (size_t v = 0; v < V; ++v) copied[v] = (1 - slip_) * law_[v] + slip_ / static_cast<double>(V);
  const double inside = static_cast<double>(span_ - 1), block = 2 * static_cast<double>(span_);
  for (size_t a = 0; a < V; ++a)
    for (size_t b = 0; b < V; ++b) {
      const double at_middle = span_ > 1 ? law_[a] * copied[b] : law_[a] * ((a == b ? 1 - slip_ : 0.0) + slip_ / static_cast<double>(V));
      out[a * V + b] = (inside * law_[a] * law_[b] + at_middle + inside * copied[a] * copied[b] + copied[a] * law_[b]) / block;
    }
  return out;
}

}  // namespace canvaslab
