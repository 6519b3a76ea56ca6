// Row statistics against a two-pass f64 reference.
#include "core/row_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
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
  for (int32_t V : {1, 2, 3, 1023, 1024, 1025, 5000, 262144}) {
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
        // Bounds: entropy 1e-5 (1 + H), log-sum-exp 1e-6 relative (the error bounds set for row statistics); what is
        // reported is f32, whose rounding 2^-24 of |ln p| is within the second.
        EXPECT_NEAR(s.entropy_nats[0], expected.entropy, 1e-5 * (1 + expected.entropy)) << "V " << V << " T " << t << " scale " << scale;
        EXPECT_GE(s.entropy_nats[0], 0.0f);
        EXPECT_LE(s.entropy_nats[0], static_cast<float>(std::log(static_cast<double>(V))) * (1 + 1e-6f));
        EXPECT_NEAR(s.entropy_t1_nats[0], plain.entropy, 1e-5 * (1 + plain.entropy));
        EXPECT_NEAR(s.argmax_logprob[0], std::log(expected.p[static_cast<size_t>(expected.best)]), 1e-6 * (1 + std::abs(expected.log_z)));
        const double current = row[static_cast<size_t>(V - 1)] / static_cast<double>(t) - expected.log_z;
        EXPECT_NEAR(s.current_logprob[0], current, 1e-6 * (1 + std::abs(current) + std::abs(expected.log_z)));
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
  const double z = std::exp(-2.0) + 1 + std::exp(-1.0);
  EXPECT_NEAR(s.candidate_logprob[0], -std::log(z), 1e-6) << "confidence stays that of temperature 1, so that it can be ranked";
  EXPECT_NEAR(s.current_logprob[0], -2 - std::log(z), 1e-6);
}

TEST(RowStatistics, TinyTemperaturesApproachGreedy) {
  for (float t : {1e-3f, 1e-10f, 1e-30f, 1e-45f}) {  // the last is the smallest denormal
    const auto s = compute(std::vector<float>{1, 3, 2, -INFINITY}, 4, t, {2});
    EXPECT_EQ(s.candidate[0], 1);
    EXPECT_EQ(s.entropy_nats[0], 0.0f) << t;
    EXPECT_EQ(s.argmax_logprob[0], 0.0f);
    const auto tie = compute(std::vector<float>{3, 1, 3}, 3, t, {0});
    EXPECT_NEAR(tie.entropy_nats[0], std::log(2), 1e-6) << "two equal peaks stay two at any temperature above 0";
    EXPECT_NEAR(tie.argmax_logprob[0], -std::log(2), 1e-6);
    EXPECT_NE(tie.candidate[0], 1);
  }
}

TEST(RowStatistics, FillsOnlyWhatIsWanted) {
  const std::vector<float> logits = {1, 3, 2, 0, 0, 5};
  const std::vector<int32_t> canvas = {0, 1};
  constexpr float kMark = -12345;
  for (Statistic bit : {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent, Statistic::kUntempered}) {
    RowStatistics out;
    out.resize(2, StatisticSet::all());
    const auto floats = [](RowStatistics& s) {
      return std::vector<std::pair<Statistic, std::vector<float>*>>{{Statistic::kMax, &s.argmax_logprob}, {Statistic::kTop2, &s.second_logprob},
          {Statistic::kEntropy, &s.entropy_nats}, {Statistic::kCandidate, &s.candidate_logprob}, {Statistic::kCurrent, &s.current_logprob},
          {Statistic::kUntempered, &s.argmax_logprob_t1}, {Statistic::kUntempered, &s.entropy_t1_nats}};
    };
    const auto ids = [](RowStatistics& s) {
      return std::vector<std::pair<Statistic, std::vector<int32_t>*>>{{Statistic::kMax, &s.argmax}, {Statistic::kTop2, &s.second}, {Statistic::kCandidate, &s.candidate}};
    };
    for (auto [owner, values] : floats(out)) values->assign(2, kMark);
    for (auto [owner, values] : ids(out)) values->assign(2, -12345);
    compute_row_statistics(logits, 3, 0, 2, {.temperature = 1, .wanted = {bit}, .canvas = canvas, .draw_key = DrawKey{}}, out);
    for (auto [owner, values] : floats(out))
      for (float value : *values) EXPECT_EQ(value == kMark, owner != bit) << "wanted " << static_cast<int>(bit) << ", field of " << static_cast<int>(owner);
    for (auto [owner, values] : ids(out))
      for (int32_t value : *values) EXPECT_EQ(value == -12345, owner != bit);
    RowStatistics sized;
    sized.resize(2, {bit});
    for (auto [owner, values] : floats(sized)) EXPECT_EQ(values->empty(), owner != bit);
  }
}

TEST(RowStatistics, DoNotDependOnHowPositionsAreSplit) {
  std::mt19937 engine(5);
  std::normal_distribution<float> normal(0, 4);
  constexpr size_t L = 7, V = 1500;
  std::vector<float> logits(L * V);
  for (auto& l : logits) l = normal(engine);
  const std::vector<int32_t> canvas(L, 3);
  const auto whole = compute(logits, V, 0.7f, canvas);
  for (size_t split : {1u, 2u, 3u}) {
    RowStatistics parts;
    parts.resize(L, StatisticSet::all());
    for (size_t begin = 0; begin < L; begin += split) {
      const size_t end = std::min(L, begin + split);
      compute_row_statistics(std::span(logits).subspan(begin * V, (end - begin) * V), V, begin, end,
                             {.temperature = 0.7f, .wanted = StatisticSet::all(), .canvas = canvas, .draw_key = DrawKey{.seed = 1}}, parts);
    }
    EXPECT_EQ(parts.argmax, whole.argmax);
    EXPECT_EQ(parts.candidate, whole.candidate);
    EXPECT_EQ(parts.candidate_logprob, whole.candidate_logprob);
    EXPECT_EQ(parts.entropy_nats, whole.entropy_nats);
    EXPECT_EQ(parts.second, whole.second);
    EXPECT_EQ(parts.entropy_t1_nats, whole.entropy_t1_nats);
  }
}

TEST(RowStatistics, AConstantAddedToARowChangesNothing) {
  std::mt19937 engine(6);
  constexpr int32_t V = 3000;
  std::vector<float> row(V), shifted(V);
  for (size_t v = 0; v < V; ++v) row[v] = static_cast<float>(static_cast<int32_t>(engine() % 200) - 100) / 8, shifted[v] = row[v] + 64;  // exact in f32
  const auto a = compute(row, V, 0.4f, {9}), b = compute(shifted, V, 0.4f, {9});
  EXPECT_EQ(a.entropy_nats, b.entropy_nats);
  EXPECT_EQ(a.candidate, b.candidate);
  EXPECT_EQ(a.argmax_logprob, b.argmax_logprob);
  EXPECT_EQ(a.current_logprob, b.current_logprob);
}

TEST(RowStatistics, TilesOfOnlyMinusInfinityAreTokensOfProbabilityZero) {
  constexpr int32_t V = 5 * 1024;
  std::vector<float> row(V, -INFINITY), dense;
  std::mt19937 engine(8);
  std::normal_distribution<float> normal(0, 2);
  for (size_t v = 0; v < V; ++v)
    if (v / 1024 % 2 == 1 && v % 3) dense.push_back(row[v] = normal(engine));  // first, middle and last tile stay empty
  const auto s = compute(row, V, 1, {0});
  const Reference expected(dense, 1);
  EXPECT_NEAR(s.entropy_nats[0], expected.entropy, 1e-5 * (1 + expected.entropy));
  EXPECT_EQ(s.current_logprob[0], -INFINITY);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const int32_t token = compute(row, V, 1, {0}, seed).candidate[0];
    EXPECT_GT(row[static_cast<size_t>(token)], -INFINITY) << "seed " << seed << " drew the impossible token " << token;
  }
}

TEST(RowStatistics, SinglePeaksHaveTheirClosedFormEntropy) {
  struct Case {
    int32_t vocabulary;
    float gap, temperature;
    double entropy;
  };
  const Case cases[] = {{10000, 14.5f, 1, .0778}, {10000, 18, 1, .0029}, {262144, 14.5f, 1, 1.817}, {262144, 18, 1, .0756}, {262144, 20, 1, .0113}, {262144, 22, 1, .00168},
                        {262144, 25, 1, 9e-5}, {262144, 8, .8f, 11.78}, {262144, 10, .6f, .264}, {262144, 12, .8f, 1.19}, {262144, 16, .4083f, 0}};
  for (const auto& c : cases) {
    std::vector<float> row(static_cast<size_t>(c.vocabulary), 0.0f);
    row[static_cast<size_t>(c.vocabulary / 2)] = c.gap;
    const double g = static_cast<double>(c.gap) / static_cast<double>(c.temperature), rest = (c.vocabulary - 1) * std::exp(-g), z = 1 + rest;
    const double closed = std::log(z) + g * rest / z;
    const double got = compute(row, c.vocabulary, c.temperature, {0}).entropy_nats[0];
    EXPECT_NEAR(got, closed, 1e-5 * (1 + closed)) << "V " << c.vocabulary << " gap " << c.gap;
    EXPECT_NEAR(got, c.entropy, 0.006 * c.entropy + 5e-5) << "the published table, three digits; V " << c.vocabulary << " gap " << c.gap;
  }
}

TEST(RowStatistics, CandidatesAreTheInverseOfTheCumulativeDistribution) {
  constexpr int32_t V = 2500;
  std::mt19937 engine(12);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> row(V);
  for (auto& l : row) l = normal(engine);
  const Reference expected(row, 1);
  std::vector<std::pair<double, int32_t>> draws;
  int compared = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const double u = DrawKey{.seed = seed}.uniform(Purpose::kCandidate, 0);
    const int32_t token = compute(row, V, 1, {0}, seed).candidate[0];
    draws.emplace_back(u, token);
    double below = 0;
    for (int32_t v = 0; v < token; ++v) below += expected.p[static_cast<size_t>(v)];
    const double above = below + expected.p[static_cast<size_t>(token)];
    // The stated bound is 1e-5; f32 weights (2.5e-7 and 2^-24 |d| each, of both signs) keep well inside it.
    EXPECT_GE(u, below - 1e-6) << "seed " << seed;
    EXPECT_LE(u, above + 1e-6) << "seed " << seed;
    ++compared;
  }
  EXPECT_EQ(compared, 3000);
  std::sort(draws.begin(), draws.end());
  for (size_t i = 1; i < draws.size(); ++i) EXPECT_LE(draws[i - 1].second, draws[i].second) << "a larger uniform gave an earlier token, u " << draws[i].first;
}

TEST(RowStatistics, BestAndSecondAreThoseOfASortInAnyTile) {
  std::mt19937 engine(21);
  for (int round = 0; round < 3000; ++round) {
    const auto V = static_cast<int32_t>(1 + engine() % 4000);
    const uint32_t values = round % 2 ? 5 : 3000;  // many ties, few ties
    std::vector<float> row(static_cast<size_t>(V));
    for (auto& x : row) x = engine() % 9 ? static_cast<float>(engine() % values) : -INFINITY;
    row[engine() % row.size()] = static_cast<float>(values);
    std::vector<int32_t> order(row.size());
    for (size_t v = 0; v < row.size(); ++v) order[v] = static_cast<int32_t>(v);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)]; });
    const auto s = compute(row, V, 1, {0});
    ASSERT_EQ(s.argmax[0], order[0]) << "V " << V << " round " << round;
    if (V > 1 && row[static_cast<size_t>(order[1])] > -INFINITY) {
      ASSERT_EQ(s.second[0], order[1]) << "V " << V << " round " << round;
    }
  }
}

}  // namespace
}  // namespace canvaslab
