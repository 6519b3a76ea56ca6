// The GPU's products and routing, thread by thread on the processor.
#include "tests/support/kernels/simulated.h"

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
