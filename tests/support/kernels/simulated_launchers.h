#pragma once
// The kernels' launchers with the simulator in place of the device, for sequences of kernels: for one file of a test program.
#include "tests/support/kernels/simulated.h"

#include "core/kernels/cuda/attention.cuh"
#include "core/kernels/cuda/call_rows.cuh"
#include "core/kernels/cuda/denoise_loop.cuh"
#include "core/kernels/cuda/entropy_bound.cuh"
#include "core/kernels/cuda/head_rows.cuh"
#include "core/kernels/cuda/matrix_product.cuh"
#include "core/kernels/cuda/routing.cuh"
#include "core/kernels/cuda/row_glue.cuh"
#include "core/kernels/cuda/row_statistics.cuh"
#include "core/kernels/cuda/soft_embedding.cuh"

namespace canvaslab::cuda {

/// Told before and after every kernel; may be empty.
inline std::function<void(bool begins)> around_launches;

template <typename Kernel>
void launch(unsigned blocks, int threads, size_t shared_bytes, const Kernel& kernel) {
  if (around_launches) around_launches(true);
  simt::launch(blocks, threads, shared_bytes, kernel);
  if (around_launches) around_launches(false);
}

int row_glue(const RowGlueCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, GlueTile::bytes(call.width), [&] { row_glue_kernel(call); });
  return 0;
}
int embed_rows(const EmbedCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, GlueTile::bytes(call.width), [&] { embed_rows_kernel(call); });
  return 0;
}
/// The stream that gelu_times_rows was given last.
inline void* simulated_stream = nullptr;
int gelu_times_rows(const GeluCall& call, void* stream) {
  simulated_stream = stream;
  cuda::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, 0, [&] { gelu_times_kernel(call); });
  return 0;
}
int soft_cap_rows(const SoftCapCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, 0, [&] { soft_cap_kernel(call); });
  return 0;
}
int head_rows(const HeadRowsCall& call, void*) {
  cuda::launch(static_cast<unsigned>((HeadTile::items(call) + HeadTile::kWarps - 1) / HeadTile::kWarps), HeadTile::kThreads, 0, [&] { head_rows_kernel(call); });
  return 0;
}
int route(const RouteCall& call, void*) {
  cuda::launch(RouteTile::blocks(call.num_rows), RouteTile::kThreads, RouteTile::bytes(call.num_experts), [&] { route_kernel(call); });
  return 0;
}
int group_by_expert(const GroupCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_experts), GroupTile::kThreads, 0, [&] { group_kernel(call); });
  return 0;
}
int matrix_product(const ProductCall& call, void*) {
  const auto launch = [&]<typename Tile>() {
    if (call.gated) cuda::launch(4, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, true>(call); });
    else cuda::launch(4, Tile::kThreads, Tile::kBytes, [&] { matrix_product_kernel<Tile, false>(call); });
  };
  switch (call.w.format) {
    case WeightFormat::kBf16: launch.template operator()<ProductTile<64, WeightFormat::kBf16>>(); break;
    case WeightFormat::kE4m3: launch.template operator()<ProductTile<64, WeightFormat::kE4m3>>(); break;
    case WeightFormat::kE2m1: launch.template operator()<ProductTile<64, WeightFormat::kE2m1>>(); break;
    case WeightFormat::kInt4: launch.template operator()<ProductTile<64, WeightFormat::kInt4>>(); break;
  }
  return 0;
}
int attention(const AttentionCall& call, void*) {
  const int splits = attention_splits(call.most_keys);
  const auto launch = [&]<int kWidth>() {
    using Tile = AttentionTile<kWidth>;
    const int heads = call.num_sequences * call.num_heads;
    cuda::launch(static_cast<unsigned>(heads * ((call.most_rows + Tile::kQueries - 1) / Tile::kQueries) * splits), Tile::kThreads, Tile::kBytes, [&] { attention_kernel<Tile>(call); });
    if (splits > 1) cuda::launch(static_cast<unsigned>(heads * call.most_rows), MergeTile::kThreads, 0, [&] { merge_attention_kernel(call); });
  };
  if (splits > 1 && !call.workspace) return 1;
  switch (call.head_width) {
    case 16: launch.template operator()<16>(); return 0;
    case 32: launch.template operator()<32>(); return 0;
    case 64: launch.template operator()<64>(); return 0;
    case 128: launch.template operator()<128>(); return 0;
    case 256: launch.template operator()<256>(); return 0;
    case 512: launch.template operator()<512>(); return 0;
    default: return 1;
  }
}
int row_statistics(const StatisticsCall& call, void*) {
  const size_t bytes = StatisticsTile::bytes((call.vocabulary + static_cast<int>(kTile) - 1) / static_cast<int>(kTile));
  cuda::launch(static_cast<unsigned>(call.num_rows), StatisticsTile::kThreads, bytes, [&] { row_statistics_kernel(call); });
  return 0;
}
int begin_step(const LoopCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_canvases), LoopTile::kThreads, 0, [&] { begin_step_kernel(call); });
  return 0;
}
int end_step(const LoopCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_canvases), LoopTile::kThreads, 0, [&] { end_step_kernel(call); });
  return 0;
}
int soft_embedding(const SoftEmbeddingCall& call, void*) {
  const auto rows = static_cast<unsigned>(call.rows), blocks = static_cast<unsigned>((call.vocabulary + kSoftBlockTokens - 1) / kSoftBlockTokens);
  const auto by_row = [&](auto kernel) { cuda::launch(rows, SoftTile::kThreads, 0, [&] { kernel(call); }); };
  if (!call.logits) {
    by_row(soft_zero_kernel);
    return 0;
  }
  by_row(soft_scale_kernel);
  if (call.least > 0) {
    cuda::launch(blocks, SoftTile::kThreads, 0, [&] { soft_keep_kernel(call); });
    cuda::launch(blocks, SoftTile::kThreads, 0, [&] { soft_place_kernel(call); });
  }
  by_row(soft_spread_kernel);
  cuda::launch(soft_multiply_blocks(call), TableTile::kThreads, TableTile::kBytes, [&] { soft_multiply_kernel(call); });
  by_row(soft_add_kernel);
  return 0;
}

int entropy_bound_step(const AcceptCall& call, void*) {
  cuda::launch(static_cast<unsigned>(call.num_canvases), AcceptTile::kThreads, kMaxCanvas * sizeof(uint64_t), [&] { entropy_bound_kernel(call); });
  return 0;
}
template <typename Call>
int make_rows_by_threads(const Call& call) {
  cuda::launch(make_blocks(call), MakeTile::kThreads, 0, [&] { make_rows_kernel(call); });
  return 0;
}
int make_rows(const SequencesCall& call, void*) { return make_rows_by_threads(call); }
int make_rows(const StatisticsRowsCall& call, void*) { return make_rows_by_threads(call); }
int make_rows(const CanvasRowsCall& call, void*) { return make_rows_by_threads(call); }
/// The device that use_device named last.
inline int32_t simulated_device_index = 0;
int use_device(int32_t index) {
  simulated_device_index = index;
  return 0;
}
const char* error_text(int) { return "the simulated device refused a call"; }

}  // namespace canvaslab::cuda
