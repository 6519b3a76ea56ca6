// Philox against published vectors, torch's generator against measured ones.
#include <gtest/gtest.h>

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
