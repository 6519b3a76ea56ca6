// Tile sums: every instruction set's version against the plain one, bit for bit, and the plain one against f64.
#include "core/kernels/tile_sums.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

const TileKernels& plain() { return all_tile_kernels().front(); }

TEST(TileSums, ThePolynomialKeepsItsErrorOverTheWholeRange) {
  // Base-2 exponents over [-126, 0]: x = y * 2^-20 with inverse_t = 2^20 ln 2 makes d exact but for the factor's rounding.
  double worst = 0, worst_at = 0;
  std::vector<float> x(kLanes), e(kLanes);
  for (int i = 0; i < 2000000; ++i) {
    x[static_cast<size_t>(i) % kLanes] = -126.0f * static_cast<float>(i) / 2000000.0f;
    if (static_cast<size_t>(i) % kLanes != kLanes - 1) continue;
    plain().weights(x.data(), kLanes, 0.0f, std::log(2.0), e.data());
    for (size_t j = 0; j < kLanes; ++j) {
      const double error = std::abs(static_cast<double>(e[j]) / std::exp2(static_cast<double>(x[j])) - 1);
      if (error > worst) worst = error, worst_at = static_cast<double>(x[j]);
    }
  }
  EXPECT_LE(worst, kExpError) << "at 2^" << worst_at;
  EXPECT_GT(worst, 1e-8) << "an error of nothing was not measured";
  x.assign(kLanes, -INFINITY);
  x[1] = -128, x[2] = 0, x[3] = -1e30f;
  plain().weights(x.data(), kLanes, 0.0f, std::log(2.0), e.data());
  EXPECT_EQ(e[0], 0.0f);
  EXPECT_EQ(e[1], 0.0f);
  EXPECT_EQ(e[2], 1.0f) << "the largest element weighs exactly 1";
  EXPECT_EQ(e[3], 0.0f);
}

TEST(TileSums, EveryVersionGivesTheSameBitsAtAnyAlignment) {
  std::mt19937 engine(2);
  for (int round = 0; round < 400; ++round) {
    std::normal_distribution<float> normal(0, round % 3 ? 5.0f : 200.0f);
    const size_t n = kLanes * (1 + static_cast<size_t>(engine() % (kTile / kLanes))), offset = engine() % 16;
    std::vector<float> data(n + 16);
    for (auto& x : data) x = engine() % 50 ? normal(engine) : -INFINITY;
    const float* x = data.data() + offset;
    float m = 0;
    ASSERT_TRUE(plain().maximum(x, n, &m));
    const double inverse_t = round % 2 ? 1.0 : 1 / 0.37;
    const TileSums expected = plain().sums(x, n, m, inverse_t, nullptr);
    std::vector<float> weights(n), other(n);
    plain().weights(x, n, m, inverse_t, weights.data());
    for (const TileKernels& version : all_tile_kernels()) {
      float largest = 0;
      ASSERT_TRUE(version.maximum(x, n, &largest)) << version.name;
      EXPECT_EQ(std::bit_cast<uint32_t>(largest), std::bit_cast<uint32_t>(m)) << version.name;
      const TileSums got = version.sums(x, n, m, inverse_t, x);
      EXPECT_EQ(std::bit_cast<uint64_t>(got.z), std::bit_cast<uint64_t>(expected.z)) << version.name << " n " << n;
      EXPECT_EQ(std::bit_cast<uint64_t>(got.s), std::bit_cast<uint64_t>(expected.s)) << version.name << " n " << n;
      version.weights(x, n, m, inverse_t, other.data());
      EXPECT_EQ(other, weights) << version.name;
    }
  }
}

TEST(TileSums, EveryVersionFindsWhatIsNoLogit) {
  for (const TileKernels& version : all_tile_kernels()) {
    for (float bad : {std::nanf(""), -std::nanf(""), INFINITY}) {
      for (size_t at = 0; at < 3 * kLanes; ++at) {
        std::vector<float> x(3 * kLanes, 1.0f);
        float m = 0;
        EXPECT_TRUE(version.maximum(x.data(), x.size(), &m));
        x[at] = bad;
        EXPECT_FALSE(version.maximum(x.data(), x.size(), &m)) << version.name << ": " << bad << " at " << at;
      }
    }
    const std::vector<float> nothing(kLanes, -INFINITY);
    float m = 0;
    EXPECT_TRUE(version.maximum(nothing.data(), kLanes, &m));
    EXPECT_EQ(m, -INFINITY);
  }
}

/// Rows made so that rounding cannot cancel: many equal elements far below the maximum, at awkward temperatures.
TEST(TileSums, SumsOfEqualElementsStayWithinTheStatedError) {
  std::mt19937 engine(7);
  for (int round = 0; round < 3000; ++round) {
    const float gap = static_cast<float>(engine() % 100000) / 7000.0f;
    const double inverse_t = 0.2 + static_cast<double>(engine() % 1000) / 300;
    std::vector<float> x(kTile, 1.5f - gap);
    x[engine() % kTile] = 1.5f;
    const TileSums got = plain().sums(x.data(), kTile, 1.5f, inverse_t, nullptr);
    const double d = (static_cast<double>(x[0] == 1.5f ? x[1] : x[0]) - 1.5) * inverse_t, z = 1 + (kTile - 1) * std::exp(d);
    // d rounds by at most 2 * 2^-24 |d| (difference and product; the factor's rounding is put right), the exponential
    // by kExpError, partial sums of 16 terms by 16 * 2^-24.
    const double bound = std::abs(d) * 0x1p-23 + kExpError + 0x1p-20;
    EXPECT_NEAR(got.z / z, 1, bound) << "gap " << gap << " inverse_t " << inverse_t;
    EXPECT_NEAR(got.s, (kTile - 1) * d * std::exp(d), bound * (kTile - 1) * (1 + std::abs(d)) * std::exp(d) + 1e-30);
  }
}

}  // namespace
}  // namespace canvaslab
