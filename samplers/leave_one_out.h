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

/// ln of the leave-one-out odds of the canvas's token against its best alternative.
inline double leave_one_out_margin(double current_logprob, double best_other_logprob, double level, int32_t vocabulary) {
  return current_logprob - std::log(observation_ratio(level, vocabulary)) - best_other_logprob;
}

}  // namespace canvaslab
