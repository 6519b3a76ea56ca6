// A decoder layer as the GPU's kernels, thread by thread on the processor: their launchers are the simulator's here.
#include "tests/support/kernels/simulated.h"

#include "core/kernels/cuda/attention.cuh"
#include "core/kernels/cuda/decoder_layer.h"
#include "core/kernels/cuda/head_rows.cuh"
#include "core/kernels/cuda/matrix_product.cuh"
#include "core/kernels/cuda/routing.cuh"
#include "core/kernels/cuda/row_glue.cuh"

namespace canvaslab::cuda {

int row_glue(const RowGlueCall& call, void*) {
  simt::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, GlueTile::bytes(call.width), [&] { row_glue_kernel(call); });
  return 0;
}
int head_rows(const HeadRowsCall& call, void*) {
  simt::launch(static_cast<unsigned>((HeadTile::items(call) + HeadTile::kWarps - 1) / HeadTile::kWarps), HeadTile::kThreads, 0, [&] { head_rows_kernel(call); });
  return 0;
}
int route(const RouteCall& call, void*) {
  simt::launch(static_cast<unsigned>((call.num_rows + RouteTile::kWarps - 1) / RouteTile::kWarps), RouteTile::kThreads, RouteTile::bytes(call.num_experts), [&] { route_kernel(call); });
  return 0;
}
int group_by_expert(const GroupCall& call, void*) {
  simt::launch(static_cast<unsigned>((call.num_experts + RouteTile::kWarps - 1) / RouteTile::kWarps), RouteTile::kThreads, 0, [&] { group_kernel(call); });
  return 0;
}
int matrix_product(const ProductCall& call, void*) {
  using Tile = ProductTile<64, WeightFormat::kBf16>;
  if (call.gated) simt::launch(4, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, true>(call); });
  else simt::launch(4, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, false>(call); });
  return 0;
}
int attention(const AttentionCall& call, void*) {
  const auto launch = [&]<int kWidth>() {
    using Tile = AttentionTile<kWidth>;
    simt::launch(static_cast<unsigned>(call.num_sequences * call.num_heads * ((call.most_rows + Tile::kQueries - 1) / Tile::kQueries)), Tile::kThreads, Tile::kBytes, [&] { attention_kernel<Tile>(call); });
  };
  if (call.head_width == 16) launch.template operator()<16>();
  else launch.template operator()<64>();
  return 0;
}

namespace {

void run(const LayerCall& call, const LayerWorkspace& work) { EXPECT_EQ(decoder_layer(call, work, nullptr), 0); }

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/decoder_layer_checks.h"
