// Philox against published vectors, torch's generator against measured ones.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/philox.h"
#include "core/torch_random.h"

namespace canvaslab {
namespace {

TEST(Philox, MatchesTheAuthorsKnownAnswers) {  // Random123 kat_vectors, philox4x32 10 rounds
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(DrawKey, UniformStaysInsideAndDiffersByEveryField) {
  const DrawKey key{.seed = 1, .item = 2, .repeat = 3, .canvas_idx = 4, .step_idx = 5};
  const double base = key.uniform(Purpose::kNoise, 6);
  EXPECT_GT(base, 0.0);
  EXPECT_LT(base, 1.0);
  for (int field = 0; field < 7; ++field) {
    DrawKey other = key;
    if (field == 0) ++other.seed;
    if (field == 1) ++other.item;
    if (field == 2) ++other.repeat;
    if (field == 3) ++other.canvas_idx;
    if (field == 4) ++other.step_idx;
    EXPECT_NE(base, other.uniform(field == 5 ? Purpose::kCandidate : Purpose::kNoise, field == 6 ? 7 : 6)) << field;
  }
}

TEST(DrawKey, PurposesPositionsStepsAndLanesAreIndependent) {
  // Pairs of uniforms in an 8 x 8 table each: 63 degrees of freedom, p = 0.0002 at 113; both dependence and too even a
  // spread would show.
  const auto table = [](auto pair_of) {
    std::vector<double> count(64, 0.0);
    constexpr int kPairs = 20000;
    for (int i = 0; i < kPairs; ++i) {
      const auto [a, b] = pair_of(static_cast<uint32_t>(i));
      ++count[static_cast<size_t>(a * 8) * 8 + static_cast<size_t>(b * 8)];
    }
    double chi_square = 0;
    for (double c : count) chi_square += (c - kPairs / 64.0) * (c - kPairs / 64.0) / (kPairs / 64.0);
    return chi_square;
  };
  const DrawKey key{.seed = 77};
  DrawKey next = key;
  next.step_idx = 1;
  for (Purpose other : {Purpose::kCanvasInit, Purpose::kRoute, Purpose::kNoise, Purpose::kPositionKey, Purpose::kSource, Purpose::kSampler, Purpose::kResample, Purpose::kPrompt}) {
    const double x = table([&](uint32_t i) { return std::pair(key.uniform(Purpose::kCandidate, i), key.uniform(other, i)); });
    EXPECT_LT(x, 113) << "purpose " << static_cast<int>(other);
    EXPECT_GT(x, 30) << "purpose " << static_cast<int>(other);
  }
  EXPECT_LT(table([&](uint32_t i) { return std::pair(key.uniform(Purpose::kNoise, i), key.uniform(Purpose::kNoise, i + 1)); }), 113);
  EXPECT_LT(table([&](uint32_t i) { return std::pair(key.uniform(Purpose::kNoise, i), next.uniform(Purpose::kNoise, i)); }), 113);
  EXPECT_LT(table([&](uint32_t i) { return std::pair(key.uniform(Purpose::kNoise, i, 0), key.uniform(Purpose::kNoise, i, 1)); }), 113);
  EXPECT_GT(table([&](uint32_t i) { return std::pair(key.uniform(Purpose::kNoise, i), key.uniform(Purpose::kNoise, i)); }), 113) << "the same draw twice must be caught";
}

TEST(DrawKey, WholeNumbersAreUniform) {
  const DrawKey key{.seed = 5};
  for (uint32_t count : {1u, 3u, 10u}) {
    std::vector<double> seen(count, 0.0);
    constexpr int kDraws = 30000;
    for (uint32_t i = 0; i < kDraws; ++i) {
      const uint32_t drawn = key.below(count, Purpose::kNoise, i);
      ASSERT_LT(drawn, count);
      ++seen[drawn];
    }
    double chi_square = 0;
    for (double c : seen) chi_square += (c - kDraws / static_cast<double>(count)) * (c - kDraws / static_cast<double>(count)) * count / kDraws;
    EXPECT_LT(chi_square, 27.9) << count << ": 9 degrees of freedom at most, p = 0.001";
  }
}

TEST(TorchGenerator, TakesTheLow32BitsOfItsSeed) {
  TorchGenerator low(3), high((uint64_t{7} << 32) | 3), other(4);
  const uint32_t first = low.next_raw();
  EXPECT_EQ(first, high.next_raw());
  EXPECT_NE(first, other.next_raw());
}

TEST(TorchGenerator, MatchesMeasuredVectorsOfTorch) {  // torch 2.11.0, manual_seed(0)
  TorchGenerator integers(0);
  for (int32_t expected : {199340, 43567, 173685, 117952, 176963, 152315, 95939, 97639}) EXPECT_EQ(integers.randint(262144), expected);
  TorchGenerator exponentials(0);
  for (float expected : {3.50832629f, 1.23038471f, 0.615044117f, 2.53511858f, 1.03570545f, 1.56612885f}) EXPECT_EQ(exponentials.exponential(), expected);
  TorchGenerator mixed(0);
  for (int i = 0; i < 4; ++i) mixed.randint(262144);
  for (float expected : {0.615044117f, 2.53511858f, 1.03570545f}) EXPECT_EQ(mixed.exponential(), expected);
  for (int32_t expected : {86293, 186098, 112420, 211543}) EXPECT_EQ(mixed.randint(262144), expected);
}

}  // namespace
}  // namespace canvaslab
