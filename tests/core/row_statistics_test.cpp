// Row statistics against a two-pass f64 reference.
#include "core/row_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace canvaslab {
namespace {

struct Reference {
  double entropy = 0, log_z = 0;
  std::vector<double> p;
  int32_t best = 0;
  Reference(std::span<const float> row, double t) {
    double top = -INFINITY;
    for (size_t v = 0; v < row.size(); ++v)
      if (row[v] > top) top = row[v], best = static_cast<int32_t>(v);
    double z = 0;
    for (float l : row) z += std::exp((l - top) / t);
    log_z = std::log(z) + top / t;
    for (float l : row) {
      p.push_back(std::exp((l - top) / t) / z);
      if (p.back() > 0) entropy -= p.back() * std::log(p.back());
    }
  }
};

RowStatistics compute(std::span<const float> logits, int32_t V, float t, const std::vector<int32_t>& canvas, uint64_t seed = 1) {
  RowStatistics out;
  const size_t L = logits.size() / static_cast<size_t>(V);
  out.resize(L, StatisticSet::all());
  compute_row_statistics(logits, V, 0, L, {.temperature = t, .wanted = StatisticSet::all(), .canvas = canvas, .draw_key = DrawKey{.seed = seed}}, out);
  return out;
}

TEST(RowStatistics, AgreeWithTheTwoPassReference) {
  std::mt19937 engine(42);
  for (int32_t V : {1, 2, 3, 1023, 1024, 1025, 5000}) {
    for (float t : {0.4f, 1.0f, 2.5f}) {
      for (float scale : {0.1f, 3.0f, 30.0f}) {
        std::vector<float> row(static_cast<size_t>(V));
        std::normal_distribution<float> normal(100, scale);
        for (auto& l : row) l = normal(engine);
        if (V > 3) row[2] = -INFINITY;
        const Reference expected(row, t), plain(row, 1);
        const std::vector<int32_t> canvas = {V - 1};
        const auto s = compute(row, V, t, canvas);
        EXPECT_EQ(s.argmax[0], expected.best);
        EXPECT_NEAR(s.entropy_nats[0], expected.entropy, 1e-5 * (1 + expected.entropy)) << "V " << V << " T " << t << " scale " << scale;
        EXPECT_NEAR(s.entropy_t1_nats[0], plain.entropy, 1e-5 * (1 + plain.entropy));
        EXPECT_NEAR(s.argmax_logprob[0], std::log(expected.p[static_cast<size_t>(expected.best)]), 1e-5);
        const double current = row[static_cast<size_t>(V - 1)] / static_cast<double>(t) - expected.log_z;
        EXPECT_NEAR(s.current_logprob[0], current, 1e-5 * (1 + std::abs(current)));
        EXPECT_LT(s.candidate[0], V);
        EXPECT_GT(expected.p[static_cast<size_t>(s.candidate[0])], 0.0);
      }
    }
  }
}

TEST(RowStatistics, TiesGoToTheLowestId) {
  const std::vector<float> row = {1, 3, 3, 0};
  const auto s = compute(row, 4, 1, {0});
  EXPECT_EQ(s.argmax[0], 1);
  EXPECT_EQ(s.second[0], 2);
}

TEST(RowStatistics, CandidatesFollowTheDistributionAcrossTiles) {
  constexpr int32_t V = 2500;
  std::vector<float> row(V, -8.0f);
  row[10] = 2, row[1500] = 3, row[2400] = 2.5f;
  const Reference expected(row, 1);
  std::vector<int> count(V, 0);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++count[static_cast<size_t>(compute(row, V, 1, {0}, static_cast<uint64_t>(i)).candidate[0])];
  double chi_square = 0, rest = 1;
  int rest_count = kDraws;
  for (size_t v : {size_t{10}, size_t{1500}, size_t{2400}}) {
    chi_square += std::pow(count[v] - kDraws * expected.p[v], 2) / (kDraws * expected.p[v]);
    rest -= expected.p[v];
    rest_count -= count[v];
  }
  chi_square += std::pow(rest_count - kDraws * rest, 2) / (kDraws * rest);
  EXPECT_LT(chi_square, 16.27) << "3 degrees of freedom, p = 0.001";
}

TEST(RowStatistics, NonFiniteLogitsAreReportedWithTheirPosition) {
  for (float bad : {std::nanf(""), INFINITY}) {
    std::vector<float> rows = {0, 1, 2, 0, bad, 2};
    try {
      compute(rows, 3, 1, {0, 0});
      FAIL() << "accepted " << bad;
    } catch (const NonFiniteLogits& error) {
      EXPECT_EQ(error.position(), 1u);
    }
  }
  std::vector<float> nothing(3, -INFINITY);
  EXPECT_THROW(compute(nothing, 3, 1, {0}), NonFiniteLogits);
}

TEST(RowStatistics, TemperatureZeroIsGreedy) {
  const std::vector<float> row = {1, 3, 2};
  const auto s = compute(row, 3, 0, {0});
  EXPECT_EQ(s.candidate[0], 1);
  EXPECT_EQ(s.entropy_nats[0], 0);
  EXPECT_EQ(s.candidate_logprob[0], 0);
}

}  // namespace
}  // namespace canvaslab
