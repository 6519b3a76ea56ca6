#pragma once
// What products can do beside the plain way: in pieces, with a soft-cap, by warpgroups. Whoever includes this has defined what matrix_product_checks.h asks for and run_warpgroups(product, tokens, blocks,
// falling) with `tokens` rows of x a tile, and warpgroups_missing(), why they are not there, or empty.
#include <tuple>

#include "core/kernels/cuda/warpgroup_product.h"
#include "core/kernels/row_arithmetic.h"
#include "tests/support/kernels/matrix_product_checks.h"

namespace canvaslab::cuda {
namespace {

INSTANTIATE_TEST_SUITE_P(Pieces, MatrixProduct,
                         ::testing::Values(ProductCase{"two", WeightFormat::kBf16, 131, 200, false, {67}, 0, 2}, ProductCase{"many", WeightFormat::kBf16, 20, 520, false, {5}, 0, 8},
                                           ProductCase{"e4m3", WeightFormat::kE4m3, 40, 336, false, {9}, 0, 3}, ProductCase{"e2m1", WeightFormat::kE2m1, 40, 352, false, {9}, 0, 5}),
                         [](const auto& shape) { return std::string(shape.param.name); });
INSTANTIATE_TEST_SUITE_P(FullSizePieces, MatrixProduct,
                         ::testing::ValuesIn(!kFullSizes ? std::vector<ProductCase>{} : std::vector<ProductCase>{
                             {"o", WeightFormat::kBf16, 2816, 8192, false, {65}, 0, 3}, {"router", WeightFormat::kBf16, 128, 2816, false, {256}, 0, 8}}),
                         [](const auto& shape) { return std::string(shape.param.name); });

/// As the pass of its own that it spares.
TEST_F(MatrixProductBits, CapsAreThoseOfSoftCapRows) {
  const ProductCase shape{"", WeightFormat::kBf16, 150, 72, false, {70}};
  Product plain(shape, 9), capped(shape, 9);
  run(plain.call(), 3, false);
  ProductCall call = capped.call();
  call.soft_cap = 3;
  run(call, 3, true);
  for (size_t i = 0; i < plain.out.floats.size(); ++i) ASSERT_EQ(capped.out.floats[i], row_soft_cap(plain.out.floats[i], 3, 1.0f / 3)) << i;
  EXPECT_NE(capped.out.floats, plain.out.floats);
  if (!warpgroups_missing().empty()) return;
  Product by_warpgroups(shape, 9);
  call = by_warpgroups.call();
  call.soft_cap = 3;
  run_warpgroups(call, 64, 2, false);
  EXPECT_EQ(by_warpgroups.out.floats, capped.out.floats);
}

TEST_F(MatrixProductBits, PiecesFillTheDeviceAndDependOnTheWeightsAlone) {
  EXPECT_EQ(product_pieces(2816, 8192), 3) << "attention's output: 44 tiles";
  EXPECT_EQ(product_pieces(2816, 2112), 3);
  EXPECT_EQ(product_pieces(128, 2816), 8) << "router";
  EXPECT_EQ(product_pieces(8192, 2816), 1);
  EXPECT_EQ(product_pieces(262144, 2816), 1);
  EXPECT_EQ(product_pieces(128, 448), 1) << "four steps at least in each";
  for (const int k : {8, 64, 65, 448, 512, 2112, 2816})
    for (int pieces = 1; pieces <= std::min(kMaxPieces, (k + 63) / 64); ++pieces) {
      EXPECT_EQ(first_step_of_piece(k, pieces, 0), 0);
      EXPECT_EQ(first_step_of_piece(k, pieces, pieces), (k + 63) / 64);
      for (int p = 0; p < pieces; ++p) EXPECT_LT(first_step_of_piece(k, pieces, p), first_step_of_piece(k, pieces, p + 1)) << k << " " << pieces;
    }
}

/// Skipped where there are no warpgroups.
template <typename Case>
class WarpgroupTestWith : public KernelTestWith<Case> {
 protected:
  void SetUp() override {
    KernelTestWith<Case>::SetUp();
    if (this->IsSkipped()) return;
    if (const std::string why = warpgroups_missing(); !why.empty()) GTEST_SKIP() << "left out: " << why;
  }
};
const std::vector<ProductCase> kWarpgroupShapes = {{"one_number", WeightFormat::kBf16, 1, 8, false, {1}}, {"one_row", WeightFormat::kBf16, 150, 72, false, {1}}, {"odd", WeightFormat::kBf16, 131, 72, false, {67}},
                                                   {"many_rows", WeightFormat::kBf16, 40, 136, false, {300}}, {"deep", WeightFormat::kBf16, 20, 840, false, {5}}, {"pieces", WeightFormat::kBf16, 150, 840, false, {70}, 0, 3}, {"gated", WeightFormat::kBf16, 70, 136, true, {133}},
                                                   {"no_rows", WeightFormat::kBf16, 20, 64, false, {0}}, {"gated_groups", WeightFormat::kBf16, 40, 64, true, {9, 0, 66}, 8},
                                                   {"groups", WeightFormat::kBf16, 24, 72, false, {0, 70, 0, 3, 1, 0}}};

/// A shape and the rows of x a tile.
using WarpgroupCase = std::tuple<ProductCase, int32_t>;
class WarpgroupProduct : public WarpgroupTestWith<WarpgroupCase> {};

/// One block as well as several: a block's copies then run on from tile to tile.
TEST_P(WarpgroupProduct, IsWhatF64Says) {
  const auto& [shape, tokens] = GetParam();
  for (const unsigned blocks : {1u, 3u}) expect_what_f64_says(shape, [&](const ProductCall& call, bool falling) { run_warpgroups(call, tokens, blocks, falling); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, WarpgroupProduct, ::testing::Combine(::testing::ValuesIn(kWarpgroupShapes), ::testing::ValuesIn(kWarpgroupTokens)),
                         [](const auto& at) { return fmt::format("{}_by_{}", std::get<0>(at.param).name, std::get<1>(at.param)); });

class WarpgroupBits : public WarpgroupTestWith<ProductCase> {};

/// So matrix_product() may take whichever is faster.
TEST_P(WarpgroupBits, AreThoseOfWarps) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Product product(GetParam(), seed);
  for (float& scale : product.w.row_scales) scale = std::uniform_real_distribution<float>(0.5f, 2.0f)(product.random);
  const auto call = [&] {
    ProductCall with_scales = product.call();
    with_scales.w.row_scales = product.w.row_scales.data();
    return with_scales;
  };
  run(call(), 4, false);
  const auto by_warps = std::exchange(product.out, StoredArray(product.out.floats.size(), Storage::kF32));
  for (const int32_t tokens : kWarpgroupTokens) {
    std::fill(product.out.floats.begin(), product.out.floats.end(), NAN);
    run_warpgroups(call(), tokens, kFullSizes ? 0 : 2, true);
    EXPECT_TRUE(std::equal(by_warps.floats.begin(), by_warps.floats.end(), product.out.floats.begin())) << "tiles of " << tokens;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, WarpgroupBits, ::testing::ValuesIn(kWarpgroupShapes), [](const auto& at) { return std::string(at.param.name); });
INSTANTIATE_TEST_SUITE_P(FullSizes, WarpgroupBits,
                         ::testing::ValuesIn(!kFullSizes ? std::vector<ProductCase>{} : std::vector<ProductCase>{
                             {"qkv", WeightFormat::kBf16, 8192, 2816, false, {100}}, {"o", WeightFormat::kBf16, 2816, 8192, false, {256}, 0, 3}, {"router", WeightFormat::kBf16, 128, 2816, false, {256}, 0, 8}, {"gate_up", WeightFormat::kBf16, 2112, 2816, true, {256}},
                             {"head", WeightFormat::kBf16, 262144, 2816, false, {70}}, {"experts", WeightFormat::kBf16, 704, 2816, true, {16, 0, 300, 8, 1, 21, 64, 65}, 8}}),
                         [](const auto& at) { return std::string(at.param.name); });

TEST(WarpgroupTokens, FillTheMultiprocessors) {
  constexpr Warpgroups kMany{WarpgroupUse::kManyRows, 132}, kAll{WarpgroupUse::kAlways, 132};
  const auto tokens = [](int32_t rows, int32_t n, bool gated, int32_t groups = 1) {
    const int32_t begin = 0;
    return warpgroup_tokens({.rows = rows, .n = n, .k = 2816, .gated = gated, .begin = groups > 1 ? &begin : nullptr, .num_groups = groups}, kMany);
  };
  EXPECT_EQ(tokens(256, 262144, false), 256) << "tiles enough: the widest read least";
  EXPECT_EQ(tokens(256, 8192, false), 128) << "128 tiles, where 256 rows would leave half of the multiprocessors without";
  EXPECT_EQ(tokens(256, 2112, true), 64) << "132 tiles";
  EXPECT_EQ(warpgroup_tokens({.rows = 256, .n = 2816, .k = 8192, .pieces = 3}, kMany), 128) << "44 tiles in three pieces: 132";
  EXPECT_EQ(tokens(64, 262144, false), 0);
  EXPECT_EQ(tokens(65 * 128, 704, true, 128), 128);
  EXPECT_EQ(tokens(64 * 128, 704, true, 128), 0);
  EXPECT_EQ(warpgroup_tokens({.rows = 256, .n = 8192, .k = 2816}, {}), 0) << "nothing is known";
  for (const Warpgroups& found : {kMany, kAll}) EXPECT_EQ(warpgroup_tokens({.rows = 256, .n = 8192, .k = 2816, .w = {.format = WeightFormat::kE4m3}}, found), 0);
  for (const int32_t rows : {1, 64, 65}) EXPECT_NE(warpgroup_tokens({.rows = rows, .n = 8192, .k = 2816}, kAll), 0) << "bits differ from those of warps, so all products have to have them";
}

}  // namespace
}  // namespace canvaslab::cuda
