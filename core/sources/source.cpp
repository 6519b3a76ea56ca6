#include "core/sources/source.h"

#include <cmath>

#include "core/error.h"

namespace canvaslab {

std::vector<double> Source::next_law(const SourceState& state) const {
  const Evidence blind;
  return posterior(state, std::span(&blind, 1));
}

std::vector<int32_t> Source::sample(size_t length, const DrawKey& key) const {
  SourceState state = start();
  std::vector<int32_t> tokens(length);
  for (size_t p = 0; p < length; ++p) {
    const auto law = next_law(state);
    tokens[p] = static_cast<int32_t>(draw_index(law, key.uniform(Purpose::kSource, static_cast<uint32_t>(p), 3)));
    advance(state, std::span(&tokens[p], 1));
  }
  return tokens;
}

double Source::log_prob(std::span<const int32_t> tokens, std::span<const int32_t> context) const {
  SourceState state = start();
  advance(state, context);
  double total = 0;
  for (const int32_t& token : tokens) {
    if (token < 0 || token >= vocabulary()) return -INFINITY;
    const double p = next_law(state)[static_cast<size_t>(token)];
    if (!(p > 0)) return -INFINITY;
    total += std::log(p);
    advance(state, std::span(&token, 1));
  }
  return total;
}

size_t Source::draw_index(std::span<const double> weights, double u) {
  size_t last = 0;  // the last token that can be drawn, for what rounding leaves over
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) last = i;
    if (u < weights[i]) return i;
    u -= weights[i];
  }
  return last;
}

void Source::impossible(size_t position, int32_t token) {
  throw UserError(ExitCode::kSomeFailed,
                  fmt::format("token {} at position {} has probability 0 under the source, given the rest; nothing can be said about what "
                              "is around it.\nuse a source that gives every sequence some probability (slip, leak or sharpness), or a "
                              "context that the source can produce",
                              token, position));
}

}  // namespace canvaslab
