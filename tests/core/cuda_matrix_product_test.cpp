// The GPU's products and routing, thread by thread on the processor.
#include "tests/support/kernels/simulated.h"

#include <set>

#include "core/kernels/cuda/matrix_product.cuh"
#include "core/kernels/cuda/routing.cuh"
#include "core/kernels/cuda/warpgroup_product.cuh"

namespace canvaslab::cuda {
namespace {

template <typename Tile>
void run_on(const ProductCall& call, unsigned blocks, bool falling) {
  if (call.gated) simt::launch(blocks, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, true>(call); }, falling);
  else simt::launch(blocks, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, false>(call); }, falling);
}
void run(const ProductCall& call, unsigned blocks, bool falling) {
  if (call.w.format == WeightFormat::kBf16) run_on<ProductTile<64, WeightFormat::kBf16>>(call, blocks, falling);
  if (call.w.format == WeightFormat::kE4m3) run_on<ProductTile<64, WeightFormat::kE4m3>>(call, blocks, falling);
  if (call.w.format == WeightFormat::kE2m1) run_on<ProductTile<64, WeightFormat::kE2m1>>(call, blocks, falling);
  if (call.w.format == WeightFormat::kInt4) run_on<ProductTile<64, WeightFormat::kInt4>>(call, blocks, falling);
}
/// By the wide tile, which the launcher takes for many rows.
void run_wide(const ProductCall& call) { simt::launch(2, 256, ProductTile<128, WeightFormat::kBf16>::kBytes, [&] { matrix_product_kernel<ProductTile<128, WeightFormat::kBf16>, false>(call); }); }

std::string warpgroups_missing() { return ""; }
void run_warpgroups(const ProductCall& call, int32_t tokens, unsigned blocks, bool falling) {
  const auto launch = [&]<typename Tile>() {
    if (call.gated) simt::launch(blocks, Tile::kThreads, Tile::kBytes, [&] { warpgroup_product_kernel<Tile, true>(call); }, falling);
    else simt::launch(blocks, Tile::kThreads, Tile::kBytes, [&] { warpgroup_product_kernel<Tile, false>(call); }, falling);
  };
  if (tokens == 64) launch.template operator()<WarpgroupTile<64>>();
  if (tokens == 128) launch.template operator()<WarpgroupTile<128>>();
  if (tokens == 256) launch.template operator()<WarpgroupTile<256>>();
}

void run(const RouteCall& call, bool falling) { simt::launch(RouteTile::blocks(call.num_rows), RouteTile::kThreads, RouteTile::bytes(call.num_experts), [&] { route_kernel(call); }, falling); }
void run(const GroupCall& call, bool falling) { simt::launch(static_cast<unsigned>(call.num_experts), GroupTile::kThreads, 0, [&] { group_kernel(call); }, falling); }

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/product_ways_checks.h"

namespace canvaslab::cuda {
namespace {

/// The lines that a product's blocks ask for ahead of time.
template <typename Run>
std::set<const uint8_t*> prefetched_by(Run run) {
  std::set<const uint8_t*> lines;
  simt::on_prefetch = [&](const void* line) { lines.insert(static_cast<const uint8_t*>(line)); };
  run();
  simt::on_prefetch = nullptr;
  return lines;
}

/// What of them lies outside of the weights [begin, end), or which of the rows that a block reads first is not among them; empty when all is well.
template <typename Tile>
std::string wrong_prefetch(const std::set<const uint8_t*>& lines, const ProductCall& call, unsigned blocks, const uint8_t* begin, const uint8_t* end) {
  for (const uint8_t* line : lines)
    if (line < begin || line >= end) return fmt::format("a line {} bytes behind the weights' beginning, which are {}", line - begin, end - begin);
  const int32_t before[2] = {0, TileSchedule::row_tiles(call.rows, Tile::kTokens)}, features = Tile::kFeatures / (call.gated ? 2 : 1);
  const TileSchedule schedule{before, 1, TileSchedule::row_tiles(call.n, features)};
  const int64_t row_bytes = int64_t{call.k} * Tile::kStepBytes / Tile::kDepth;
  for (int64_t item = 0; item < std::min<int64_t>(blocks, schedule.count() * call.pieces); ++item) {
    const int32_t first = schedule.at(item / call.pieces).feature_tile * features;
    for (int32_t feature = first; feature < std::min(first + features, call.n); ++feature)
      for (const int32_t row : {feature, call.gated ? call.n + feature : feature})
        if (!lines.contains(begin + row * row_bytes + int64_t{first_step_of_piece(call.k, call.pieces, static_cast<int32_t>(item % call.pieces))} * Tile::kStepBytes))
          return fmt::format("not row {}, which block {} reads first", row, item);
  }
  return "";
}

template <typename Tile, typename Run>
void expect_prefetch(const ProductCase& shape, unsigned blocks, Run run) {
  SCOPED_TRACE(shape.name);
  Product product(shape, 5);
  const ProductCall call = product.call();
  const auto lines = prefetched_by([&] { run(call); });
  const uint8_t *begin = product.w.codes.data(), *end = begin + int64_t{call.k} * Tile::kStepBytes / Tile::kDepth * (call.gated ? 2 * call.n : call.n);
  EXPECT_EQ(wrong_prefetch<Tile>(lines, call, blocks, begin, end), "");
  EXPECT_NE(wrong_prefetch<Tile>(lines, call, blocks, begin, *lines.rbegin()), "") << "a line outside is seen";
  auto fewer = lines;
  fewer.erase(begin);
  EXPECT_NE(wrong_prefetch<Tile>(fewer, call, blocks, begin, end), "") << "a row that is missing is seen";
}

TEST(PrefetchedWeights, AreThoseThatBlocksReadFirst) {
  for (const ProductCase& shape : {ProductCase{"one_number", WeightFormat::kBf16, 1, 8, false, {1}}, ProductCase{"odd", WeightFormat::kBf16, 131, 72, false, {67}}, ProductCase{"gated", WeightFormat::kBf16, 70, 136, true, {33}},
                                   ProductCase{"pieces", WeightFormat::kBf16, 150, 840, false, {70}, 0, 3}}) {
    for (const unsigned blocks : {1u, 5u}) {
      expect_prefetch<ProductTile<64, WeightFormat::kBf16>>(shape, blocks, [&](const ProductCall& call) { run(call, blocks, false); });
      expect_prefetch<WarpgroupTile<64>>(shape, blocks, [&](const ProductCall& call) { run_warpgroups(call, 64, blocks, false); });
      expect_prefetch<WarpgroupTile<256>>(shape, blocks, [&](const ProductCall& call) { run_warpgroups(call, 256, blocks, true); });
    }
  }
  expect_prefetch<ProductTile<64, WeightFormat::kE4m3>>({"e4m3", WeightFormat::kE4m3, 130, 336, false, {10}, 0, 3}, 4, [&](const ProductCall& call) { run(call, 4, false); });
  expect_prefetch<ProductTile<64, WeightFormat::kE2m1>>({"e2m1", WeightFormat::kE2m1, 130, 96, false, {10}}, 2, [&](const ProductCall& call) { run(call, 2, false); });
  expect_prefetch<ProductTile<64, WeightFormat::kInt4>>({"int4", WeightFormat::kInt4, 40, 160, true, {3}}, 1, [&](const ProductCall& call) { run(call, 1, false); });
}

TEST(PrefetchedWeights, AreNoneOfGroups) {
  Product product({"groups", WeightFormat::kBf16, 24, 72, false, {0, 70, 0, 3, 1, 0}}, 5);
  EXPECT_TRUE(prefetched_by([&] { run(product.call(), 3, false); }).empty());
  EXPECT_TRUE(prefetched_by([&] { run_warpgroups(product.call(), 64, 3, false); }).empty());
}

}  // namespace
}  // namespace canvaslab::cuda
