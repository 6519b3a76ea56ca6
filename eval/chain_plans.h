#pragma once
// Commit-once plans on stationary Markov chains: entropies in closed form, and the best plan of any length in polynomial time.
#include "eval/commit_once.h"

namespace canvaslab {

/// A stationary chain as its entropies, nats: of one token, and of a token given one `d` places away (the same in both
/// directions). given[0] = 0.
struct ChainEntropies {
  double one = 0;
  std::vector<double> given;  // [length + 1], index: distance
};

/// From the law of two neighbouring tokens [V, V], for distances up to `length`. V^3 a distance.
ChainEntropies chain_entropies(std::span<const double> pair_law, int32_t vocabulary, size_t length);
/// Entropies of subsets of a chain: one + the sum of given[gap] over neighbouring positions of the subset.
SubsetEntropy chain_entropy(const ChainEntropies& chain);
/// Mean over all subsets of each size of a canvas of `length`, [length + 1], in closed form.
std::vector<double> chain_mean_entropy(const ChainEntropies& chain, size_t length);

/// The best of all plans of 1, ..., most_rounds rounds, whatever their order. Between two committed tokens a chain does not
/// see what lies outside, so a plan is made gap by gap, and the gaps share nothing but the clock: an interval recursion.
std::vector<CommitPlan> best_chain_plans(const ChainEntropies& chain, size_t length, size_t most_rounds);

}  // namespace canvaslab
