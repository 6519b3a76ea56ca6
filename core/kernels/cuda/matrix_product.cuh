#pragma once
// Products with weights, the kernel: blocks walk the list of tiles of tile_schedule.h, item blockIdx, blockIdx + gridDim, ... Every tile is one block's from beginning to end, its sum over K in one order:
// neither the grid nor the other rows can be seen in a result. In a gated product a slab of kSlab tile rows is half gates, half their ups, so that both are one thread's.
#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/product_tile.cuh"
#include "core/kernels/row_arithmetic.h"
#include "core/kernels/tile_schedule.h"

namespace canvaslab::cuda {

/// Whether a product can be launched.
inline bool is_sound(const ProductCall& call) {
  const auto aligned = [](const void* pointer) { return pointer && reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  if (call.rows < 0 || call.n < 1 || call.k < 1 || call.k % depth_step(call.w.format) != 0 || call.ldx < call.k || call.ldx % 8 != 0) return false;
  if (!aligned(call.x) || !aligned(call.w.codes) || !call.out.data || call.num_groups < 1 || call.num_groups > kMaxGroups || call.slots_per_row < 1) return false;
  if (((call.w.format == WeightFormat::kE2m1 || call.w.format == WeightFormat::kInt4) && !call.w.group_scales) || (!call.begin && call.num_groups != 1)) return false;
  if (call.pieces < 1 || call.pieces > kMaxPieces || call.pieces > (call.k + 63) / 64 || !(call.soft_cap >= 0) || (call.gated && (call.soft_cap > 0 || call.pieces > 1))) return false;
  return call.pieces == 1 || (!call.begin && call.soft_cap == 0 && call.out.storage == Storage::kF32);
}

/// Features of the result that a tile makes.
template <typename Tile, bool kGated>
constexpr int kTileFeatures = kGated ? Tile::kFeatures / 2 : Tile::kFeatures;

/// The feature of tile row `row`, and the matrix row that makes it.
template <typename Tile, bool kGated>
__device__ inline int feature_of(int first, int row) {
  constexpr int kHalf = Tile::kSlab / 2;
  return kGated ? first + row / Tile::kSlab * kHalf + row % kHalf : first + row;
}
template <typename Tile, bool kGated>
__device__ inline int64_t weight_row(int feature, int row, int n) {
  return kGated && row % Tile::kSlab >= Tile::kSlab / 2 ? static_cast<int64_t>(n) + feature : feature;
}

/// The rows that a block takes for an item of its list, [first, end) if there are as many, and what it multiplies them with. Pieces of the same tile stand side by side in the list.
struct TileRows {
  int group, first, end, feature_tile, piece, first_step, end_step;
};
template <typename Tile>
__device__ inline TileRows rows_of(const ProductCall& call, const TileSchedule& schedule, int64_t item) {
  const ProductTileAt tile = schedule.at(item / call.pieces);
  const int piece = static_cast<int>(item % call.pieces);
  return {tile.group, (call.begin ? call.begin[tile.group] : 0) + tile.row_tile * Tile::kTokens, call.begin ? call.begin[tile.group + 1] : call.rows, tile.feature_tile,
          piece, first_step_of_piece(call.k, call.pieces, piece), first_step_of_piece(call.k, call.pieces, piece + 1)};
}

/// A finished number into its place.
__device__ inline void put_result(const ProductCall& call, int piece, int row, int feature, float value) {
  if (call.pieces > 1) static_cast<float*>(call.out.data)[piece * call.piece_stride + row * call.out.stride + feature] = value;
  else call.out.put(row, feature, call.soft_cap > 0 ? row_soft_cap(value, call.soft_cap, 1.0f / call.soft_cap) : value);
}

/// Row tiles before each group, by the first warp: every lane has groups in a row.
template <typename Tile>
__device__ inline void count_tiles(const ProductCall& call, int32_t* before) {
  if (threadIdx.x < kWarp) {
    const int lane = static_cast<int>(threadIdx.x), each = (call.num_groups + kWarp - 1) / kWarp, first = min(lane * each, call.num_groups), end = min(first + each, call.num_groups);
    const auto tiles = [&](int g) { return TileSchedule::row_tiles(call.begin ? call.begin[g + 1] - call.begin[g] : call.rows, Tile::kTokens); };
    int own = 0;
    for (int g = first; g < end; ++g) own += tiles(g);
    int at = warp_sum_before(own);
    for (int g = first; g < end; ++g) {
      before[g] = at;
      at += tiles(g);
    }
    if (lane == kWarp - 1) before[call.num_groups] = at;
  }
  __syncthreads();
}

template <typename Tile, bool kGated>
__device__ inline void find_sources(const ProductCall& call, int group, int first_row, int end_row, int first_feature, TileSources<Tile>& from, const void*& scales) {
  using From = TileSources<Tile>;
  const int thread = static_cast<int>(threadIdx.x), weight_rows = kGated ? 2 * call.n : call.n;
  const int64_t row_bytes = static_cast<int64_t>(call.k) * Tile::kStepBytes / Tile::kDepth, matrix = static_cast<int64_t>(group) * weight_rows;
  from.w = static_cast<const uint8_t*>(call.w.codes);
  from.x = reinterpret_cast<const uint8_t*>(call.x);
  CANVASLAB_UNROLL
  for (int i = 0; i < From::kWeightRows; ++i) {
    const int row = (thread + i * Tile::kThreads) / From::kChunks, feature = feature_of<Tile, kGated>(first_feature, row);
    from.w_row[i] = feature < call.n ? static_cast<uint32_t>((matrix + weight_row<Tile, kGated>(feature, row, call.n)) * row_bytes / 16) : From::kNone;
  }
  CANVASLAB_UNROLL
  for (int i = 0; i < From::kTokenRows; ++i) {
    const int row = first_row + thread / 8 + i * (Tile::kThreads / 8);
    from.x_row[i] = From::kNone;
    if (row < end_row) from.x_row[i] = static_cast<uint32_t>((call.source ? call.source[row] / call.slots_per_row : row) * call.ldx / 8);
  }
  const int row = thread / 2, feature = feature_of<Tile, kGated>(first_feature, row);
  scales = nullptr;
  if (feature >= call.n) return;
  const int64_t scale_row = matrix + weight_row<Tile, kGated>(feature, row, call.n);
  if (Tile::kFormat == WeightFormat::kE2m1) scales = static_cast<const uint8_t*>(call.w.group_scales) + scale_row * (call.k / 16);
  if (Tile::kFormat == WeightFormat::kInt4) scales = static_cast<const uint16_t*>(call.w.group_scales) + scale_row * (call.k / 32);
}

/// Asks for the weights of a block's first steps while earlier kernels are at work: no kernel writes weights. Two threads take a row. Which weights a block of groups reads is known with the routing alone.
template <typename Tile, bool kGated>
__device__ inline void prefetch_weights(const ProductCall& call) {
  static_assert(Tile::kThreads == 2 * Tile::kFeatures);
  if (call.begin || call.rows == 0) return;
  constexpr int kLine = 128;
  const int item = static_cast<int>(blockIdx.x), piece = item % call.pieces, row = static_cast<int>(threadIdx.x) / 2;
  const int feature = feature_of<Tile, kGated>(item / call.pieces / TileSchedule::row_tiles(call.rows, Tile::kTokens) * kTileFeatures<Tile, kGated>, row);
  if (feature >= call.n) return;
  const int64_t row_bytes = static_cast<int64_t>(call.k) * Tile::kStepBytes / Tile::kDepth;
  const int first = first_step_of_piece(call.k, call.pieces, piece) * Tile::kStepBytes + static_cast<int>(threadIdx.x) % 2 * kLine;
  const auto* from = static_cast<const uint8_t*>(call.w.codes) + weight_row<Tile, kGated>(feature, row, call.n) * row_bytes;
  CANVASLAB_UNROLL
  for (int byte = 0; byte < (Tile::kStages - 1) * Tile::kStepBytes; byte += 2 * kLine)
    if (first + byte < row_bytes) prefetch_line(from + first + byte);
}

template <typename Tile, bool kGated>
__device__ inline void write_tile(const ProductCall& call, const TileRows& rows, const Sums<Tile>& sums) {
  const int group = rows.group, first_row = rows.first, end_row = rows.end, first_feature = rows.feature_tile * kTileFeatures<Tile, kGated>;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int slab = warp % Tile::kSlabs * 32, half = warp / Tile::kSlabs * (Tile::kTokens / 2);
  const float* scales = call.w.row_scales ? call.w.row_scales + static_cast<int64_t>(group) * (kGated ? 2 * call.n : call.n) : nullptr;
  CANVASLAB_UNROLL
  for (int m = 0; m < (kGated ? 1 : 2); ++m)
    CANVASLAB_UNROLL
    for (int below = 0; below < 2; ++below) {  // rows g and g + 8 of a fragment
      const int tile_row = slab + 16 * m + lane / 4 + 8 * below, feature = feature_of<Tile, kGated>(first_feature, tile_row);
      if (feature >= call.n) continue;
      const float scale = scales ? scales[feature] : 1.0f, up_scale = kGated && scales ? scales[call.n + feature] : 1.0f;
      CANVASLAB_UNROLL
      for (int f = 0; f < Tile::kFragments; ++f)
        CANVASLAB_UNROLL
        for (int side = 0; side < 2; ++side) {
          const int row = first_row + half + 8 * f + lane % 4 * 2 + side, i = 2 * below + side;
          if (row >= end_row) continue;
          const float value = sums[m][f][i] * scale;
          if constexpr (kGated) call.out.put(row, feature, row_gelu_times(value, sums[1][f][i] * up_scale));
          else put_result(call, rows.piece, row, feature, value);
        }
    }
}

template <typename Tile, bool kGated>
__global__ void __launch_bounds__(Tile::kThreads, 2) matrix_product_kernel(ProductCall call) {
  prefetch_weights<Tile, kGated>(call);
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ int32_t before[kMaxGroups + 1];
  count_tiles<Tile>(call, before);
  constexpr int kFeatures = kTileFeatures<Tile, kGated>;
  const TileSchedule schedule{before, call.num_groups, TileSchedule::row_tiles(call.n, kFeatures)};
  for (int64_t item = blockIdx.x; item < schedule.count() * call.pieces; item += gridDim.x) {
    const TileRows rows = rows_of<Tile>(call, schedule, item);
    TileSources<Tile> from;
    const void* scales;
    find_sources<Tile, kGated>(call, rows.group, rows.first, rows.end, rows.feature_tile * kFeatures, from, scales);
    Sums<Tile> sums = {};
    multiply_tile<Tile>(from, scales, call.k, rows.first_step, rows.end_step, rows.end - rows.first, reinterpret_cast<uint8_t*>(memory), sums);
    write_tile<Tile, kGated>(call, rows_of<Tile>(call, schedule, item), sums);  // found again: registers are scarcer than time here
  }
}

}  // namespace canvaslab::cuda
