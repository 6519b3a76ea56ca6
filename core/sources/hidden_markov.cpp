#include "core/sources/hidden_markov.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/kernels/mix_rows.h"

namespace canvaslab {
namespace {

std::vector<double> random_rows(int32_t rows, int32_t columns, double sharpness, const DrawKey& key, uint32_t lane) {
  std::vector<double> table(static_cast<size_t>(rows) * static_cast<size_t>(columns));
  for (int32_t r = 0; r < rows; ++r) {
    double* row = table.data() + static_cast<size_t>(r) * static_cast<size_t>(columns);
    double best = -1e300, sum = 0;
    for (int32_t c = 0; c < columns; ++c) {
      const double u = key.uniform(Purpose::kSource, static_cast<uint32_t>(r * columns + c), lane);
      row[c] = -sharpness * std::log(-std::log(u));
      best = std::max(best, row[c]);
    }
    for (int32_t c = 0; c < columns; ++c) sum += row[c] = std::exp(row[c] - best);
    for (int32_t c = 0; c < columns; ++c) row[c] /= sum;
  }
  return table;
}

size_t draw(const double* weights, size_t count, double u) {
  for (size_t i = 0; i + 1 < count; ++i) {
    if (u < weights[i]) return i;
    u -= weights[i];
  }
  return count - 1;
}

}  // namespace

HiddenMarkov::HiddenMarkov(int32_t num_states, int32_t vocabulary, double sharpness, uint64_t seed)
    : num_states_(num_states), vocabulary_(vocabulary) {
  const DrawKey key{.seed = seed};
  transition_ = random_rows(num_states, num_states, sharpness, key, 1);
  emission_ = random_rows(num_states, vocabulary, sharpness, key, 2);
  finish();
}

HiddenMarkov::HiddenMarkov(std::vector<double> transition, std::vector<double> emission, int32_t num_states)
    : num_states_(num_states), vocabulary_(static_cast<int32_t>(emission.size()) / num_states),
      transition_(std::move(transition)), emission_(std::move(emission)) {
  finish();
}

void HiddenMarkov::finish() {
  const size_t S = static_cast<size_t>(num_states_);
  transposed_.resize(S * S);
  for (size_t r = 0; r < S; ++r)
    for (size_t s = 0; s < S; ++s) transposed_[s * S + r] = transition_[r * S + s];
  stationary_.assign(S, 1.0 / static_cast<double>(S));
  std::vector<double> next(S);
  // Power iteration on the lazy chain (which cannot oscillate) until the law stops moving.
  for (int i = 0; i < 100000; ++i) {
    for (size_t s = 0; s < S; ++s) next[s] = 0.5 * stationary_[s];
    for (size_t r = 0; r < S; ++r)
      for (size_t s = 0; s < S; ++s) next[s] += 0.5 * stationary_[r] * transition_[r * S + s];
    double moved = 0, sum = 0;
    for (size_t s = 0; s < S; ++s) sum += next[s];
    for (size_t s = 0; s < S; ++s) {
      next[s] /= sum;
      moved += std::abs(next[s] - stationary_[s]);
    }
    stationary_ = next;
    if (moved < 1e-15) break;
  }
}

std::vector<int32_t> HiddenMarkov::sample(size_t length, const DrawKey& key) const {
  const size_t S = static_cast<size_t>(num_states_), V = static_cast<size_t>(vocabulary_);
  std::vector<int32_t> tokens(length);
  size_t state = 0;
  for (size_t p = 0; p < length; ++p) {
    const double* law = p == 0 ? stationary_.data() : transition_.data() + state * S;
    state = draw(law, S, key.uniform(Purpose::kSource, static_cast<uint32_t>(p), 3));
    tokens[p] = static_cast<int32_t>(draw(emission_.data() + state * V, V, key.uniform(Purpose::kSource, static_cast<uint32_t>(p), 4)));
  }
  return tokens;
}

std::vector<double> HiddenMarkov::filter(std::vector<double> law, std::span<const int32_t> tokens) const {
  const size_t S = static_cast<size_t>(num_states_), V = static_cast<size_t>(vocabulary_);
  std::vector<double> next(S);
  for (size_t p = 0; p < tokens.size(); ++p) {
    double sum = 0;
    for (size_t s = 0; s < S; ++s) sum += law[s] *= emission_[s * V + static_cast<size_t>(tokens[p])];
    if (!(sum > 0))
      throw usage_error("token {} at position {} has probability 0 under the source after what precedes it; nothing can follow it.\n"
                        "use a smaller sharpness, or a context that the source can produce", tokens[p], p);
    std::fill(next.begin(), next.end(), 0.0);
    for (size_t r = 0; r < S; ++r)
      for (size_t s = 0; s < S; ++s) next[s] += law[r] / sum * transition_[r * S + s];
    law = next;
  }
  return law;
}

double HiddenMarkov::log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const {
  const size_t S = static_cast<size_t>(num_states_), V = static_cast<size_t>(vocabulary_);
  std::vector<double> law = filter(stationary_, context), next(S);
  double total = 0;
  for (int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_) return -INFINITY;
    double sum = 0;
    for (size_t s = 0; s < S; ++s) sum += law[s] *= emission_[s * V + static_cast<size_t>(token)];
    total += std::log(sum);
    std::fill(next.begin(), next.end(), 0.0);
    for (size_t r = 0; r < S; ++r)
      for (size_t s = 0; s < S; ++s) next[s] += law[r] / sum * transition_[r * S + s];
    law = next;
  }
  return total;
}

double HiddenMarkov::entropy_rate_nats() const {
  constexpr size_t kBurnIn = 1000, kLength = 100000;  // standard error about sd / sqrt(1e5)
  const auto tokens = sample(kBurnIn + kLength, DrawKey{.seed = 0x5EED, .item = 1});
  const std::span<const int32_t> all(tokens);
  return -log_prob(all.subspan(kBurnIn), all.first(kBurnIn)) / static_cast<double>(kLength);
}

std::vector<double> HiddenMarkov::pair_law() const {
  const size_t S = static_cast<size_t>(num_states_), V = static_cast<size_t>(vocabulary_);
  std::vector<double> next(S * V, 0.0), law(V * V, 0.0);  // next[s, v] = P(next token v | state s)
  for (size_t r = 0; r < S; ++r)
    for (size_t s = 0; s < S; ++s)
      for (size_t v = 0; v < V; ++v) next[r * V + v] += transition_[r * S + s] * emission_[s * V + v];
  for (size_t s = 0; s < S; ++s)
    for (size_t a = 0; a < V; ++a)
      for (size_t b = 0; b < V; ++b) law[a * V + b] += stationary_[s] * emission_[s * V + a] * next[s * V + b];
  return law;
}

std::vector<double> HiddenMarkov::posterior(std::span<const int32_t> canvas, const std::vector<double>& start, double survival,
                                            double* log_evidence) const {
  const double floor = (1.0 - survival) / static_cast<double>(vocabulary_);
  std::vector<Evidence> evidence;
  for (int32_t token : canvas) evidence.push_back({.token = token, .gain = survival, .floor = floor});
  return posterior(SourceState{.weights = start, .tokens = {}}, evidence, log_evidence);
}

void HiddenMarkov::advance(SourceState& state, std::span<const int32_t> tokens) const {
  state.weights = filter(std::move(state.weights), tokens);
  state.position += tokens.size();
}

std::vector<double> HiddenMarkov::posterior(const SourceState& state, std::span<const Evidence> canvas, double* log_evidence) const {
  const size_t S = static_cast<size_t>(num_states_), V = static_cast<size_t>(vocabulary_), L = canvas.size();
  std::vector<double> before(L * S), after(L * S, 1.0), likelihood(L * S), evidence(S), next(S);  // before excludes the evidence of its own position
  std::vector<double> law = state.weights;
  double log_total = 0;
  for (size_t p = 0; p < L; ++p) {
    std::copy(law.begin(), law.end(), before.begin() + static_cast<ptrdiff_t>(p * S));
    double* here = likelihood.data() + p * S;
    double sum = 0;
    for (size_t s = 0; s < S; ++s) {
      here[s] = canvas[p].gain * emission_[s * V + static_cast<size_t>(canvas[p].token)] + canvas[p].floor;
      sum += evidence[s] = law[s] * here[s];
    }
    if (!(sum > 0)) impossible(p, canvas[p].token);
    log_total += std::log(sum);
    std::fill(next.begin(), next.end(), 0.0);
    for (double& mass : evidence) mass /= sum;
    mix_rows(evidence, transition_.data(), S, next.data());
    law = next;
  }
  for (size_t p = L - 1; p-- > 0;) {
    double* here = after.data() + p * S;
    std::fill(here, here + S, 0.0);
    mix_rows({here + S, S}, {likelihood.data() + (p + 1) * S, S}, transposed_.data(), S, here);
    const double best = *std::max_element(here, here + S);
    for (size_t r = 0; r < S; ++r) here[r] /= best;
  }
  std::vector<double> out(L * V, 0.0);
  for (size_t p = 0; p < L; ++p) {
    double* row = out.data() + p * V;
    for (size_t s = 0; s < S; ++s) evidence[s] = before[p * S + s] * after[p * S + s];
    mix_rows(evidence, emission_.data(), V, row);
    double sum = 0;
    for (size_t v = 0; v < V; ++v) {
      row[v] *= canvas[p].floor + (v == static_cast<size_t>(canvas[p].token) ? canvas[p].gain : 0.0);
      sum += row[v];
    }
    for (size_t v = 0; v < V; ++v) row[v] /= sum;
  }
  if (log_evidence) *log_evidence += log_total;
  return out;
}

}  // namespace canvaslab
