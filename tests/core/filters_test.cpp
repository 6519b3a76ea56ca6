// Filters, the divergence from the step before, and draws among the other tokens, against plain loops in f64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/row_statistics.h"

namespace canvaslab {
namespace {

std::vector<double> softmax(std::span<const float> row, double temperature) {
  double best = -INFINITY, sum = 0;
  std::vector<double> p(row.begin(), row.end());
  for (double l : p) best = std::max(best, l);
  for (double& l : p) sum += l = std::exp((l - best) / temperature);
  for (double& l : p) l /= sum;
  return p;
}

/// The law that candidates are drawn from: top_k, then top_p of what is left, then min_p; sorted whole, ties by id.
std::vector<double> filtered_law(std::span<const float> row, double temperature, const LogitFilters& filters) {
  auto p = softmax(row, temperature);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return row[a] > row[b]; });
  const size_t k = filters.top_k ? std::min(p.size(), static_cast<size_t>(filters.top_k)) : p.size();
  double total = 0, before = 0, kept = 0;
  for (size_t i = 0; i < k; ++i) total += p[order[i]];
  std::vector<double> out(p.size(), 0.0);
  for (size_t i = 0; i < k; ++i) {
    const bool in_top_p = filters.top_p == 1 || i == 0 || before < filters.top_p * total;
    before += p[order[i]];
    if (in_top_p && p[order[i]] >= filters.min_p * p[order[0]]) kept += out[order[i]] = p[order[i]];
  }
  for (double& x : out) x /= kept;
  return out;
}

RowStatistics compute(std::span<const float> row, float temperature, const LogitFilters& filters, uint64_t seed, int32_t current = 0,
                      std::span<const float> previous = {}) {
  RowStatistics out;
  out.resize(1, StatisticSet::all());
  compute_row_statistics(row, static_cast<int32_t>(row.size()), 0, 1,
                         {.temperature = temperature, .wanted = StatisticSet::all(), .canvas = std::span(&current, 1), .draw_key = DrawKey{.seed = seed},
                          .filters = filters, .previous_logits = previous},
                         out);
  return out;
}

std::vector<float> random_row(size_t V, uint32_t seed, float scale = 2) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> row(V);
  for (auto& l : row) l = normal(engine);
  return row;
}

TEST(Filters, CandidatesAndStatisticsAreThoseOfTheFilteredLaw) {
  for (const LogitFilters& f : {LogitFilters{.top_k = 3}, LogitFilters{.top_p = 0.7}, LogitFilters{.min_p = 0.2}, LogitFilters{.top_k = 400, .top_p = 0.9},
                                LogitFilters{.top_k = 5, .top_p = 0.8, .min_p = 0.3}, LogitFilters{.top_p = 1e-9}, LogitFilters{.min_p = 1}, LogitFilters{.top_k = 5000, .top_p = 0.999}}) {
    for (float temperature : {1.0f, 0.5f}) {
      const auto row = random_row(1500, 11, 1.5f);
      const auto law = filtered_law(row, static_cast<double>(temperature), f);
      const auto whole = softmax(row, static_cast<double>(temperature));
      double entropy = 0;
      for (double p : law) entropy -= p > 0 ? p * std::log(p) : 0;
      std::vector<int32_t> seen;
      for (uint64_t seed = 0; seed < 300; ++seed) {
        const auto s = compute(row, temperature, f, seed);
        const auto token = static_cast<size_t>(s.candidate[0]);
        ASSERT_GT(law[token], 0) << "drew a removed token; top_k " << f.top_k << " top_p " << f.top_p << " min_p " << f.min_p;
        // Inversion in order of the ids: the draw is where the uniform falls in the cumulative law.
        double below = 0;
        for (size_t v = 0; v < token; ++v) below += law[v];
        const double u = DrawKey{.seed = seed}.uniform(Purpose::kCandidate, 0);
        EXPECT_GE(u, below - 1e-12);
        EXPECT_LE(u, below + law[token] + 1e-12);
        if (seed) continue;
        EXPECT_NEAR(s.entropy_nats[0], entropy, 1e-5 * (1 + entropy));
        EXPECT_NEAR(s.candidate_logprob[0], std::log(law[token]), 1e-5);
        LogitFilters unfiltered = f;
        unfiltered.filtered_statistics = false;
        const auto t = compute(row, temperature, unfiltered, seed), plain = compute(row, temperature, {}, seed);
        EXPECT_EQ(t.candidate, s.candidate) << "stats_on changes no draw";
        EXPECT_EQ(t.entropy_nats, plain.entropy_nats);
        EXPECT_EQ(t.current_logprob, plain.current_logprob);
        EXPECT_NEAR(t.candidate_logprob[0], std::log(whole[token]), 1e-5);
        EXPECT_EQ(s.argmax, plain.argmax) << "the argmax is unaffected";
      }
    }
  }
}

TEST(Filters, TiesGoToTheLowestIdsAndImpossibleTokensStayOut) {
  const std::vector<float> ties = {1, 2, 2, 2, -INFINITY};
  std::vector<int> count(5);
  for (uint64_t seed = 0; seed < 200; ++seed) ++count[static_cast<size_t>(compute(ties, 1, {.top_k = 2}, seed).candidate[0])];
  EXPECT_EQ(count[0] + count[3] + count[4], 0);
  EXPECT_GT(count[1], 0);
  EXPECT_GT(count[2], 0);
  EXPECT_THROW(compute(std::vector<float>(4, -INFINITY), 1, {.top_k = 2}, 0), NonFiniteLogits);
}

TEST(Divergence, IsTheKullbackLeiblerDivergenceAtTemperatureOne) {
  const auto now = random_row(3000, 1), before = random_row(3000, 2);
  const auto p = softmax(now, 1), q = softmax(before, 1);
  double expected = 0;
  for (size_t v = 0; v < p.size(); ++v) expected += p[v] * std::log(p[v] / q[v]);
  auto shifted = before;
  for (float& l : shifted) l += 8;
  EXPECT_NEAR(compute(now, 0.5f, {}, 0, 0, before).kl_nats[0], expected, 1e-6 * expected) << "at any temperature of the step";
  EXPECT_NEAR(compute(now, 0.5f, {.top_k = 2}, 0, 0, before).kl_nats[0], expected, 1e-6 * expected) << "without the filters";
  EXPECT_NEAR(compute(now, 1, {}, 0, 0, shifted).kl_nats[0], expected, 1e-5) << "a constant changes nothing (f32: 8 costs three bits)";
  EXPECT_NEAR(compute(now, 1, {}, 0, 0, now).kl_nats[0], 0, 1e-12);
  EXPECT_EQ(compute(now, 1, {}, 0).kl_nats[0], INFINITY) << "there is no step before the first";
  EXPECT_EQ(compute(std::vector<float>{0, 0}, 1, {}, 0, 0, std::vector<float>{0, -INFINITY}).kl_nats[0], INFINITY);
  EXPECT_NEAR(compute(std::vector<float>{0, -INFINITY}, 1, {}, 0, 0, std::vector<float>{0, 0}).kl_nats[0], std::log(2), 1e-6);
}

TEST(Alternative, IsDrawnFromTheLawWithoutTheCanvasToken) {
  const auto row = random_row(2500, 3);
  const auto p = softmax(row, 1);
  for (int32_t current : {0, 1030, static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin())})
    for (uint64_t seed = 0; seed < 300; ++seed) {
      const int32_t token = compute(row, 1, {}, seed, current).alternative[0];
      ASSERT_NE(token, current);
      const double rest = 1 - p[static_cast<size_t>(current)], u = DrawKey{.seed = seed}.uniform(Purpose::kAlternative, 0);
      double below = 0;
      for (int32_t v = 0; v < token; ++v) below += v == current ? 0 : p[static_cast<size_t>(v)] / rest;
      EXPECT_GE(u, below - 1e-11);
      EXPECT_LE(u, below + p[static_cast<size_t>(token)] / rest + 1e-11);
    }
  // A token of nearly all mass leaves the others their odds: 1 - p is 1e-26, far below what a difference of sums can give.
  std::vector<float> peaked = {60, 0, 0, 0};
  int count = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) count += compute(peaked, 1, {}, seed, 0).alternative[0] == 2;
  EXPECT_GT(count, 60);  // a third of 300 is 100; five standard deviations are 41
  EXPECT_LT(count, 141);
}

TEST(DrawToken, InvertsTheUniform) {
  const std::vector<float> row = {0, std::log(2.0f), std::log(5.0f)};
  EXPECT_EQ(draw_token(row, 1, 0.12), 0);
  EXPECT_EQ(draw_token(row, 1, 0.13), 1);
  EXPECT_EQ(draw_token(row, 1, 0.37), 1);
  EXPECT_EQ(draw_token(row, 1, 0.38), 2);
  EXPECT_EQ(draw_token(row, 0, 0.01), 2);
  EXPECT_THROW(draw_token(std::vector<float>{0, NAN}, 1, 0.5), NonFiniteLogits);
}

}  // namespace
}  // namespace canvaslab
