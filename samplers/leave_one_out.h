#pragma once
// What a position's token would be if the canvas did not show it: closed forms from the ordinary posterior.
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace canvaslab {

/// Likelihood ratio by which an observed token is favoured: 1 + V a / (1 - a) under uniform corruption at survival level a.
inline double observation_ratio(double level, int32_t vocabulary) { return 1 + vocabulary * level / (1 - level); }

/// Leave-one-out probability of the canvas's token from its posterior log-probability at temperature 1; every other token
/// keeps its odds against the others. Level below 1.
inline double leave_one_out_current(double current_logprob, double level, int32_t vocabulary) {
  const double p = std::exp(current_logprob), rest = -std::expm1(std::min(0.0, current_logprob));
  return p / (p + rest * observation_ratio(level, vocabulary));
}

/// The same of another token.
inline double leave_one_out_other(double other_logprob, double current_logprob, double level, int32_t vocabulary) {
  const double p = std::exp(current_logprob), rest = -std::expm1(std::min(0.0, current_logprob)), ratio = observation_ratio(level, vocabulary);
  return std::exp(other_logprob) * ratio / (p + rest * ratio);
}

/// ln of the law of a noisy token given all others, from the leave-one-out probability of its clean one: a loo(v) + (1 - a) / V.
inline double conditional_logprob(double leave_one_out, double level, int32_t vocabulary) { return std::log(level * leave_one_out + (1 - level) / vocabulary); }

}  // namespace canvaslab
