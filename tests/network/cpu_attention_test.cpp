// Attention of the CPU path against its formula in f64, on f32 and on bf16 numbers.
#include "core/network/cpu_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "core/kernels/stored_rows.h"

namespace canvaslab {
namespace {

/// Random queries and two parts of keys and values, in one buffer each. Exact is what follows from the numbers as they are stored.
template <typename Number>
struct Problem {
  static constexpr bool kBf16 = std::is_same_v<Number, uint16_t>;
  int64_t S, old, fresh, H, Hkv, Dh;
  double size;  ///< of queries and keys: scores grow with its square
  std::vector<Number> q = {}, k = {}, v = {};
  std::vector<int64_t> from = {}, to = {};

  static Number stored(float x) {
    if constexpr (kBf16) return nearest_bf16(x);
    else return x;
  }
  static double value(Number x) {
    if constexpr (kBf16) return static_cast<double>(from_bf16(x));
    else return static_cast<double>(x);
  }
  Problem(std::mt19937_64& random, int64_t queries, int64_t cached, int64_t more, int64_t heads, int64_t kv_heads, int64_t width, double scale)
      : S(queries), old(cached), fresh(more), H(heads), Hkv(kv_heads), Dh(kBf16 ? width + width % 2 : width), size(scale) {
    std::normal_distribution<double> normal;
    const auto fill = [&](std::vector<Number>& x, int64_t count, double factor) {
      for (int64_t i = 0; i < count; ++i) x.push_back(stored(static_cast<float>(factor * normal(random))));
    };
    fill(q, S * H * Dh, size);
    fill(k, Hkv * (old + fresh) * Dh, size);
    fill(v, Hkv * (old + fresh) * Dh, 1);
    from.assign(static_cast<size_t>(S), 0);
    to.assign(static_cast<size_t>(S), old + fresh);
  }
  /// Keys [first, first + count) of all heads.
  KeyRows<Number> rows(int64_t first, int64_t count) const {
    return {.k = k.data() + first * Dh, .v = v.data() + first * Dh, .row_stride = Dh, .head_stride = (old + fresh) * Dh, .count = count};
  }
  std::vector<float> run(int64_t chunk) const {
    std::vector<float> out(static_cast<size_t>(S * H * Dh));
    AttentionWorkspace ws;
    attend(AttentionCall<Number>{.num_queries = S, .num_heads = H, .num_kv_heads = Hkv, .head_dim = Dh, .q = q.data(), .q_stride = H * Dh, .keys = {rows(0, old), rows(old, fresh)}, .from = from, .to = to, .chunk = chunk, .out = out.data()}, ws);
    return out;
  }
  /// One element by the formula.
  double exact(int64_t s, int64_t head, int64_t d) const {
    const int64_t kv = head * Hkv / H;
    std::vector<double> score;
    double largest = -INFINITY, sum = 0, weighted = 0;
    for (int64_t key = from[static_cast<size_t>(s)]; key < to[static_cast<size_t>(s)]; ++key) {
      double x = 0;
      for (int64_t i = 0; i < Dh; ++i) x += value(q[static_cast<size_t>((s * H + head) * Dh + i)]) * value(k[static_cast<size_t>((kv * (old + fresh) + key) * Dh + i)]);
      score.push_back(x);
      largest = std::max(largest, x);
    }
    for (size_t i = 0; i < score.size(); ++i) {
      const double weight = std::exp(score[i] - largest);
      sum += weight;
      weighted += weight * value(v[static_cast<size_t>((kv * (old + fresh) + from[static_cast<size_t>(s)] + static_cast<int64_t>(i)) * Dh + d)]);
    }
    return weighted / sum;
  }
  /// A score is a sum of Dh products in f32, off by Dh 2^-24 of the sum of their sizes; its exponential by as much and 2e-7 more, with
  /// bf16 by 1.2e-5 and a rounding of 2^-8. A weighted mean of values up to `most` is off by twice that, and by the rounding of its own
  /// sum.
  double bound() const {
    double most = 0;
    for (const Number x : v) most = std::max(most, std::abs(value(x)));
    const double products = static_cast<double>(Dh) * size * size;
    return most * (2 * (static_cast<double>(Dh) * 0x1p-24 * products + (kBf16 ? 1.2e-5 + 0x1p-8 : 2e-7)) + static_cast<double>(old + fresh) * 0x1p-24);
  }
  void expect_exact(const std::vector<float>& got, const std::string& what) const {
    double worst = 0;
    std::string where;
    for (int64_t s = 0; s < S; ++s)
      for (int64_t head = 0; head < H; ++head)
        for (int64_t d = 0; d < Dh; ++d) {
          const double error = std::abs(static_cast<double>(got[static_cast<size_t>((s * H + head) * Dh + d)]) - exact(s, head, d));
          if (!(error <= worst)) worst = error, where = fmt::format("query {}, head {}, element {}", s, head, d);
        }
    EXPECT_LE(worst, bound()) << what << ", worst at " << where;
  }
};

template <typename Number>
class CpuAttention : public ::testing::Test {};
struct NumberNames {
  template <typename Number>
  static std::string GetName(int) {
    return std::is_same_v<Number, float> ? "f32" : "bf16";
  }
};
using NumberTypes = ::testing::Types<float, uint16_t>;
TYPED_TEST_SUITE(CpuAttention, NumberTypes, NumberNames);

TYPED_TEST(CpuAttention, IsTheFormula) {
  std::mt19937_64 random(11);
  using P = Problem<TypeParam>;
  // S, cached, fresh, H, Hkv, Dh, size: odd widths, one key, a cache alone, blocks of keys that begin and end anywhere, scores in the hundreds.
  for (const P& p : {P(random, 5, 0, 5, 4, 2, 8, 0.3), P(random, 1, 1, 0, 1, 1, 3, 1), P(random, 7, 600, 7, 6, 2, 16, 0.4), P(random, 300, 13, 300, 2, 1, 5, 0.5), P(random, 3, 1030, 0, 2, 2, 32, 3)})
    p.expect_exact(p.run(256), fmt::format("{} queries over {} + {} keys, {} of {} heads of {}", p.S, p.old, p.fresh, p.Hkv, p.H, p.Dh));
}

TYPED_TEST(CpuAttention, QueriesSeeTheirRangeOnly) {
  std::mt19937_64 random(12);
  Problem<TypeParam> p(random, 150, 700, 150, 4, 2, 8, 0.5);
  for (int64_t s = 0; s < p.S; ++s) {  // causal in a window, as a sliding layer's prompt
    p.to[static_cast<size_t>(s)] = p.old + s + 1;
    p.from[static_cast<size_t>(s)] = std::max<int64_t>(0, p.old + s - 600);
  }
  const auto got = p.run(64);
  p.expect_exact(got, "window");
  // What lies outside a query's range has no part in it, whatever it is.
  for (int64_t kv = 0; kv < p.Hkv; ++kv) {
    for (int64_t d = 0; d < p.Dh; ++d) {
      p.k[static_cast<size_t>((kv * (p.old + p.fresh)) * p.Dh + d)] = p.stored(1e6f);
      p.v[static_cast<size_t>((kv * (p.old + p.fresh) + p.old + p.fresh - 1) * p.Dh + d)] = p.stored(1e6f);
    }
  }
  const auto changed = p.run(64);
  const auto row = [&](const std::vector<float>& x, int64_t s) { return std::vector<float>(x.begin() + s * p.H * p.Dh, x.begin() + (s + 1) * p.H * p.Dh); };
  EXPECT_EQ(row(got, 60), row(changed, 60)) << "neither the first key nor the last value";
  EXPECT_NE(row(got, p.S - 1), row(changed, p.S - 1)) << "the last query sees the last value";
}

/// A query's bits are its own: alone, or among others that see as many keys.
TYPED_TEST(CpuAttention, OtherQueriesChangeNoBit) {
  std::mt19937_64 random(14);
  const Problem<TypeParam> p(random, 40, 530, 40, 6, 2, 16, 0.5);
  auto one = p;
  one.S = 1;
  const auto together = p.run(256);
  EXPECT_EQ(one.run(256), std::vector<float>(together.begin(), together.begin() + p.H * p.Dh));
  EXPECT_EQ(p.run(7), together);
}

TYPED_TEST(CpuAttention, AWrongAnswerIsSeen) {
  std::mt19937_64 random(13);
  const Problem<TypeParam> p(random, 4, 9, 4, 2, 1, 8, 0.5);
  auto wrong = p;
  wrong.to[2] -= 1;  // one key too few
  const auto got = wrong.run(256);
  double worst = 0;
  for (int64_t d = 0; d < p.Dh; ++d) worst = std::max(worst, std::abs(static_cast<double>(got[static_cast<size_t>(2 * p.H * p.Dh + d)]) - p.exact(2, 0, d)));
  EXPECT_GT(worst, 2 * p.bound());
}

}  // namespace
}  // namespace canvaslab
