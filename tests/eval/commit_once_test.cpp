// Commit-once plans: their cost against the law they write, the searches against exhaustive enumeration, and what a sampler
// writes that follows one.
#include "eval/commit_once.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.h"
#include "eval/chain_plans.h"
#include "eval/exact_law.h"
#include "tests/support/table_source.h"

namespace canvaslab {
namespace {

using Rounds = std::vector<std::vector<uint32_t>>;
using testing_support::ChainDenoiser;
using testing_support::reference_chain;

/// Every ordered partition of the positions.
std::vector<Rounds> all_plans(uint32_t length) {
  std::vector<Rounds> out;
  const auto extend = [&](const auto& self, const Rounds& plan, uint32_t open) -> void {
    if (open == 0) return out.push_back(plan);
    for (uint32_t round = open; round > 0; round = (round - 1) & open) {
      Rounds longer = plan;
      longer.emplace_back();
      for (uint32_t p = 0; p < length; ++p)
        if (round >> p & 1) longer.back().push_back(p);
      self(self, longer, open & ~round);
    }
  };
  extend(extend, {}, (1u << length) - 1);
  return out;
}

std::vector<double> random_law(size_t cells, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<double> law(cells);
  for (double& p : law) p = -std::log(1 - std::uniform_real_distribution<double>(0, 1)(engine));
  const double sum = std::accumulate(law.begin(), law.end(), 0.0);
  for (double& p : law) p /= sum;
  return law;
}

TEST(CommitOnce, OnPaper) {  // two equal bits and a free one
  std::vector<double> law(8, 0.0);
  law[0] = law[1] = law[6] = law[7] = 0.25;
  const auto entropies = subset_entropies(law, 3, 2);
  const auto plans = best_plans(entropies, 3);
  EXPECT_NEAR(plans[0].kl_nats, std::log(2), 1e-15);
  EXPECT_NEAR(plans[1].kl_nats, 0, 1e-15) << "one of the twins with the free bit, then the other";
  EXPECT_NEAR(plan_divergence({{0, 1}, {2}}, tabulated_entropy(entropies)), std::log(2), 1e-15);
  EXPECT_NEAR(plan_divergence({{2}, {1}, {0}}, tabulated_entropy(entropies)), 0, 1e-15);
  EXPECT_THROW(plan_law({{0, 1}, {2}}, law, 3, 2), UserError) << "commits different twins";
}

TEST(CommitOnce, EveryPlanCostsTheForwardDivergenceOfWhatItWritesAndTheSearchFindsTheBest) {
  constexpr size_t kLength = 4;
  const auto law = random_law(81, 5);  // 3 tokens
  const auto entropies = subset_entropies(law, kLength, 3);
  const auto entropy = tabulated_entropy(entropies);
  std::vector<double> least(kLength, INFINITY);
  const auto plans = all_plans(kLength);
  EXPECT_EQ(plans.size(), 75u);  // the fourth ordered Bell number
  for (const auto& plan : plans) {
    const auto written = plan_law(plan, law, kLength, 3);
    EXPECT_NEAR(std::accumulate(written.begin(), written.end(), 0.0), 1, 1e-12);
    const double kl = plan_divergence(plan, entropy);
    EXPECT_NEAR(kl, kl_divergence(law, written), 1e-12);
    least[plan.size() - 1] = std::min(least[plan.size() - 1], kl);
  }
  const auto best = best_plans(entropies, kLength);
  for (size_t n = 0; n < kLength; ++n) {
    EXPECT_NEAR(best[n].kl_nats, least[n], 1e-12) << n + 1 << " rounds";
    EXPECT_EQ(best[n].rounds.size(), n + 1);
    EXPECT_NEAR(plan_divergence(best[n].rounds, entropy), best[n].kl_nats, 1e-12);
  }
  EXPECT_LT(best[1].kl_nats, 0.9 * best[0].kl_nats);
}

TEST(CommitOnce, RandomOrderIsTheMeanOverAllOrders) {
  constexpr size_t kLength = 4;
  const auto entropies = subset_entropies(random_law(81, 6), kLength, 3);
  const auto entropy = tabulated_entropy(entropies);
  const auto best = best_random_sizes(mean_entropy_by_size(entropies));
  for (const auto& plan : best) {
    std::vector<uint32_t> order = contiguous_order(kLength);
    double sum = 0, count = 0;
    do {
      Rounds rounds;
      auto begin = order.begin();
      for (const size_t size : plan.sizes) rounds.emplace_back(begin, begin + static_cast<ptrdiff_t>(size)), begin += static_cast<ptrdiff_t>(size);
      sum += plan_divergence(rounds, entropy);
      count += 1;
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_NEAR(plan.kl_nats, sum / count, 1e-12) << plan.sizes.size() << " rounds";
    EXPECT_GE(plan.kl_nats, best_plans(entropies, kLength)[plan.sizes.size() - 1].kl_nats);
  }
}

TEST(CommitOnce, ChainsAgreeWithTheSearchThroughAllSubsets) {
  for (size_t length = 1; length <= 6; ++length) {
    const auto law = source_law(reference_chain(), length);
    const auto entropies = subset_entropies(law, length, 4);
    const auto chain = chain_entropies(reference_chain().pair_law(), 4, length);
    const auto closed = chain_entropy(chain), table = tabulated_entropy(entropies);
    const auto mean = chain_mean_entropy(chain, length), counted = mean_entropy_by_size(entropies);
    for (size_t m = 0; m <= length; ++m) EXPECT_NEAR(mean[m], counted[m], 1e-9) << m << " of " << length;
    const auto best = best_plans(entropies, length), fast = best_chain_plans(chain, length, length);
    const auto contiguous = best_plans_along(contiguous_order(length), closed), dilated = best_plans_along(dilated_order(length), table);
    for (size_t n = 0; n < length; ++n) {
      EXPECT_NEAR(fast[n].kl_nats, best[n].kl_nats, 1e-9) << n + 1 << " rounds of " << length;
      EXPECT_NEAR(plan_divergence(fast[n].rounds, table), fast[n].kl_nats, 1e-9) << "the rounds found are worth what is said";
      EXPECT_NEAR(plan_divergence(contiguous[n].rounds, table), contiguous[n].kl_nats, 1e-9);
      EXPECT_NEAR(plan_divergence(dilated[n].rounds, table), dilated[n].kl_nats, 1e-9);
      EXPECT_GE(contiguous[n].kl_nats, best[n].kl_nats - 1e-9);
      EXPECT_GE(dilated[n].kl_nats, best[n].kl_nats - 1e-9);
    }
  }
}

TEST(CommitOnce, LongerChainsFindPlansWorthWhatTheySay) {  // beyond what subsets can be searched for
  const auto chain = chain_entropies(reference_chain().pair_law(), 4, 33);
  const auto entropy = chain_entropy(chain);
  const auto best = best_chain_plans(chain, 33, 33);
  double before = INFINITY;
  for (size_t n = 0; n < best.size(); ++n) {
    std::vector<uint32_t> seen;
    for (const auto& round : best[n].rounds) seen.insert(seen.end(), round.begin(), round.end());
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, contiguous_order(33));
    EXPECT_LE(best[n].rounds.size(), n + 1);
    EXPECT_NEAR(plan_divergence(best[n].rounds, entropy), best[n].kl_nats, 1e-8);
    EXPECT_LE(best[n].kl_nats, before + 1e-12);
    before = best[n].kl_nats;
    for (const auto& order : {contiguous_order(33), dilated_order(33)}) EXPECT_LE(best[n].kl_nats, best_plans_along(order, entropy)[n].kl_nats + 1e-8);
    if (n == 2) n = 29;  // the cuts of one order are slow to search; ends and beginnings suffice
  }
  EXPECT_NEAR(before, 0, 1e-8);
}

TEST(CommitOnce, OneRoundIsTheProductOfMarginals) {  // samplers.md 14.3: K 4, L 6; figures to three digits
  const auto law = source_law(reference_chain(), 6);
  const Rounds all = {contiguous_order(6)};
  const auto written = plan_law(all, law, 6, 4);
  EXPECT_NEAR(total_variation(written, law), 0.856, 6e-4);
  EXPECT_NEAR(kl_divergence(written, law) / 6, 1.349, 6e-4);
  PlanRequest request;
  request.sampler = "ddim";
  request.num_steps = 1;
  request.temperature = "1";
  const ChainDenoiser known(reference_chain(), 6, true);
  EXPECT_LT(total_variation(exact_law(known, resolve_plan(request, known)), written), 1e-6) << "at level 0 the denoiser says the marginals; logits are f32";
}

TEST(CommitOnce, OrdersNameEveryPositionOnce) {
  EXPECT_EQ(dilated_order(8), (std::vector<uint32_t>{0, 4, 2, 6, 1, 3, 5, 7}));
  for (size_t length : {1, 2, 3, 5, 12, 31}) {
    auto order = dilated_order(length);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, contiguous_order(length));
  }
}

TEST(CommitOnce, SamplesOfASourceGiveTheSameNumbers) {
  const auto chain = reference_chain();
  const auto entropies = subset_entropies(source_law(chain, 5), 5, 4);
  const auto entropy = tabulated_entropy(entropies);
  const Rounds plan = {{0, 3}, {1, 4}, {2}};
  const auto sampled = sampled_divergence(chain, 5, [&](uint64_t) { return plan; }, 4000, 7);
  EXPECT_GT(sampled.standard_error, 0);
  EXPECT_NEAR(sampled.mean, plan_divergence(plan, entropy), 4.5 * sampled.standard_error) << "seed 7; 7e-6 by chance";
  const std::vector<size_t> sizes = {2, 3};
  const auto random = sampled_divergence(chain, 5, [&](uint64_t i) { return random_rounds(sizes, 3, i); }, 4000, 8);
  const auto mean = mean_entropy_by_size(entropies);
  EXPECT_NEAR(random.mean, 2 * mean[1] - mean[2] + 3 * (mean[3] - mean[2]) - (mean[5] - mean[2]), 4.5 * random.standard_error) << "seed 8";
  // Means of 4000 values of size at most ln(1 / 6e-5) = 10: limits 4.5 * 3 / sqrt(4000), the spread of a log-probability being below 3.
  const std::vector<uint32_t> some = {1, 2, 4};
  EXPECT_NEAR(sampled_entropy(chain, 5, 4000, 9)(some), entropy(some), 0.22);
  const auto by_size = sampled_mean_entropy(chain, 5, 4000, 9);
  for (size_t m = 0; m <= 5; ++m) EXPECT_NEAR(by_size[m], mean[m], 0.22) << m;
}

TEST(CommitOnce, TheSamplerThatFollowsAPlanWritesItsLaw) {  // absorbing corruption: what is committed is certain
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=3, length=4, sharpness=1, corruption=absorbing)");
  const auto law = source_law(*denoiser->source(), 4);
  PlanRequest request;
  request.sampler = "fixed_plan(plan=\"3 0 / 2 / 1\")";
  request.num_steps = 3;
  const auto plan = resolve_plan(request, *denoiser);
  const auto expected = plan_law({{0, 3}, {2}, {1}}, law, 4, 3);
  EXPECT_GT(total_variation(expected, law), 0.02) << "else the comparison could not tell the plan from the source";
  constexpr int kDraws = 20000;
  std::vector<double> count(81, 0.0);
  for (int item = 0; item < kDraws; ++item) {
    std::vector<RowInput> rows(1);
    rows[0].item = static_cast<uint64_t>(item);
    rows[0].seed = 4;
    size_t index = 0;
    const auto ids = generate(*denoiser, plan, rows)[0].canvas_ids;
    for (const int32_t token : ids) index = index * 3 + static_cast<size_t>(token);
    ++count[index];
  }
  const auto chi_square = [&](const std::vector<double>& of) {
    double sum = 0;
    for (size_t i = 0; i < of.size(); ++i) sum += std::pow(count[i] - kDraws * of[i], 2) / (kDraws * of[i]);
    return sum;
  };
  EXPECT_GT(*std::min_element(expected.begin(), expected.end()) * kDraws, 5);
  constexpr double kCells = 80, kLimit = 132.6;  // scipy.stats.chi2.ppf(1 - 2e-4, 80)
  EXPECT_LT(chi_square(expected), kLimit) << kCells << " degrees of freedom, seed 4";
  EXPECT_GT(chi_square(law), kLimit) << "the source's own law is told apart";
}

}  // namespace
}  // namespace canvaslab
