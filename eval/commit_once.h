#pragma once
// Fixed plans that commit once: what they cost in forward KL, and the best of them by number of rounds.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/sources/source.h"
#include "eval/statistics.h"

namespace canvaslab {

// A plan is an ordered partition of L positions into rounds. Each round is drawn from the product of its exact conditional
// marginals given what earlier rounds committed, and nothing changes afterwards. KL(source || output) is then the sum over
// rounds of the conditional total correlation (samplers.md 14.3): a bound for such plans, in this direction. Samplers that
// revise, that see a noise canvas, that adapt with randomness or that verify are outside its scope.

struct CommitPlan {
  std::vector<std::vector<uint32_t>> rounds;
  double kl_nats = 0;  ///< KL(source || output) over the whole canvas
};

/// Joint entropy of the tokens at these positions (rising), nats; 0 for none.
using SubsetEntropy = std::function<double(std::span<const uint32_t> positions)>;

/// KL of a plan: sum over rounds R after committed C of sum_{i in R} H(i | C) - H(R | C).
double plan_divergence(const std::vector<std::vector<uint32_t>>& rounds, const SubsetEntropy& entropy);

/// What the plan writes, over the V^L canvases of a tabulated law (index as in eval/exact_law.h). Errors: usage when the plan can
/// commit tokens that are impossible together, after which there is no law to draw from.
std::vector<double> plan_law(const std::vector<std::vector<uint32_t>>& rounds, std::span<const double> law, size_t length, int32_t vocabulary);

/// Entropies of all 2^L subsets of positions (bit p of the index: position p) of a tabulated law over V^L canvases.
std::vector<double> subset_entropies(std::span<const double> law, size_t length, int32_t vocabulary);
/// The same as a function.
SubsetEntropy tabulated_entropy(std::vector<double> subset_entropies);

/// The best plans of 1, 2, ..., L rounds, from the entropies of all subsets: dynamic programming over subsets, 3^L a round.
/// Errors: usage beyond 14 positions.
std::vector<CommitPlan> best_plans(std::span<const double> subset_entropies, size_t length);

/// The best cuts of one order into 1, 2, ..., L rounds. `order` names every position once.
std::vector<CommitPlan> best_plans_along(std::span<const uint32_t> order, const SubsetEntropy& entropy);
/// 0, 1, 2, ...: contiguous rounds from the left.
std::vector<uint32_t> contiguous_order(size_t length);
/// Far apart first: 0, then the middle, then the quarters, ... (bit reversal, positions beyond the length left out).
std::vector<uint32_t> dilated_order(size_t length);

/// Round sizes, and the KL expected over uniformly random orders.
struct SizePlan {
  std::vector<size_t> sizes;
  double kl_nats = 0;
};
/// The best sizes for 1, 2, ..., L rounds in random order. mean_entropy [L + 1]: of random subsets by their size.
std::vector<SizePlan> best_random_sizes(std::span<const double> mean_entropy);
/// Mean over all subsets of each size, [L + 1].
std::vector<double> mean_entropy_by_size(std::span<const double> subset_entropies);

// --- sources whose subset entropies have no closed form: exact terms, averaged over exact samples

/// Plans on n exact samples of a source: mean and standard error of ln p(x) - sum over rounds of ln p(x_i | committed),
/// whose expectation is the plan's KL. Each sample's plan is `plan_of(sample index)`.
MeanError sampled_divergence(const Source& source, size_t length, const std::function<std::vector<std::vector<uint32_t>>(uint64_t)>& plan_of, uint64_t samples, uint64_t seed);
/// -mean ln p(tokens at the positions) over n exact samples, for choosing cuts.
SubsetEntropy sampled_entropy(const Source& source, size_t length, uint64_t samples, uint64_t seed);
/// The same of one random subset of each size per sample, [length + 1].
std::vector<double> sampled_mean_entropy(const Source& source, size_t length, uint64_t samples, uint64_t seed);
/// Rounds of these sizes in an order drawn by seed and number.
std::vector<std::vector<uint32_t>> random_rounds(std::span<const size_t> sizes, uint64_t seed, uint64_t number);

}  // namespace canvaslab
