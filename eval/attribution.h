#pragma once
// Which of several changes made by how much a difference: Shapley values over all mixtures of two configurations.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/paired.h"

namespace canvaslab {

/// Most factors that are told apart: 2^6 mixtures are run.
inline constexpr size_t kMostFactors = 6;

/// Shapley values of a game on k players, values[S] with bit i of S set when player i takes part, [2^k]. Player i gets
///   sum over S without i of |S|! (k - 1 - |S|)! / k! * (values[S + i] - values[S]),
/// its part on average over all orders of joining. They sum to values[all] - values[none]; a player that never changes the
/// value gets exactly 0. Source: Shapley (1953).
std::vector<double> shapley_values(std::span<const double> values);

/// One factor's part of a difference B - A.
struct FactorPart {
  double contribution = 0;      ///< Shapley value
  double standard_error = 0;    ///< of the contribution: standard deviation over bootstrap draws of the items
  double bias = 0;              ///< mean over bootstrap draws less the contribution: what few items add to it, to first order
  Interval interval;            ///< contribution -+ 1.96 standard errors
  double alone = 0;             ///< A with this factor alone as in B, less A
  double last = 0;              ///< B less B with this factor alone as in A
};

struct DifferenceParts {
  double a = 0, b = 0;                ///< values of the two configurations
  FactorPart total;                   ///< B - A; alone and last are B - A too
  std::vector<FactorPart> factors;    ///< contributions sum to the total, to rounding
  std::vector<double> values;         ///< [2^k], bit i set: factor i as in B
};

/// Values [2^k] of all mixtures when item i is counted weights[i] times (all items are in every mixture).
using MixtureValues = std::function<std::vector<double>(std::span<const uint32_t> weights)>;

/// Takes B - A apart. Items are drawn with replacement, the same ones for every mixture, `draws` times (counter-based, from
/// the seed), and the values computed anew each time. Errors: usage for fewer than two items or draws.
DifferenceParts take_apart(const MixtureValues& values, size_t num_items, uint64_t seed, uint32_t draws);

/// Means over items, one row [num_items] per mixture.
MixtureValues mean_values(std::vector<std::vector<double>> per_item);

/// Divergences of token pairs from an exact law [V, V], nats, plug-in (pair_divergence in eval/statistics.h).
/// sequences[mixture][item]: the texts of one item.
MixtureValues divergence_values(const std::vector<std::vector<std::vector<std::vector<int32_t>>>>& sequences, std::vector<double> exact, int32_t vocabulary);

}  // namespace canvaslab
