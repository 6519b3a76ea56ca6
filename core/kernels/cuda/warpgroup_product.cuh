#pragma once
// Products with bf16 weights by warpgroups, for many rows: one block of two warpgroups per multiprocessor, tiles of 128 weight rows by kTokens rows of x, K in steps of 64.
//
//   w [128, 64]  x  [kTokens, 64]    Warpgroup g multiplies weight rows [64 g, 64 g + 64) with all rows of x of the tile: four instructions a step, their sums in kTokens / 2 registers a thread.
//      \              /              Both factors stand in shared memory swizzled, a row's step being the 128 bytes of one swizzled row; a ring of kStages steps is filled by asynchronous copies.
//
//   step s:   copies of s there | barrier | products of s begin | copies of s + kStages - 2 begin | products of s - 1 done
//
// The tensor cores so have the products of one step while the warps see to copies and barriers of the next. A step's copies go where step s - 2 stood: behind the barrier every warp has seen its products
// of s - 2 end. Copies do not stop at a tile's end: while its results are written, the first steps of the block's next tile are on their way.
//
// Sums run over K in steps of 16 in rising order, as in matrix_product.cuh. By what is known of sm_90 (bit-accurate models of its tensor cores: 16 products and the sum so far are added at once, cut off at
// 25 bits, by mma.sync as by wgmma) the bits are then the same too; warpgroup_products_agree() asks the device.
#include "core/kernels/cuda/matrix_product.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/warpgroup.cuh"

namespace canvaslab::cuda {

template <int kTokens_>
struct WarpgroupTile {
  static constexpr int kTokens = kTokens_;
  static constexpr WeightFormat kFormat = WeightFormat::kBf16;
  static constexpr int kThreads = 256, kWarpgroup = 128;
  static constexpr int kFeatures = 128, kDepth = 64, kStepBytes = 2 * kDepth;
  static constexpr int kSlab = 16;                                         // 8 gates and their 8 ups: rows l / 4 and l / 4 + 8 of a warp are one thread's
  static constexpr int kWeightBytes = kFeatures * SwizzledRows::kRowBytes;
  static constexpr int kStageBytes = kWeightBytes + kTokens * SwizzledRows::kRowBytes;
  static constexpr int kStages = kTokens == 256 ? 4 : kTokens == 128 ? 6 : 8;  // 192 KiB each; two steps fewer are under way: 96 KiB at least, where 26 KiB would do at 4.3 TB/s and 0.8 us
  static constexpr int kSums = kTokens / 2;
  static constexpr int kBytes = kStages * kStageBytes + SwizzledRows::kRepeat;  // of dynamic shared memory; it begins at any multiple of 16
  static_assert(kStepBytes == SwizzledRows::kRowBytes);
  static_assert(kWeightBytes % SwizzledRows::kRepeat == 0 && kStageBytes % SwizzledRows::kRepeat == 0, "every factor begins where the swizzle does");
  static_assert(kStages >= 3, "one step is multiplied, one has to end, one is copied");
};

/// Asks for the steps of a block's tiles, one after another.
template <typename Tile, bool kGated>
struct StepsAhead {
  const ProductCall& call;
  const TileSchedule& schedule;
  int64_t item, count;
  int step, end;             // of the item; equal: it has not begun
  TileSources<Tile> from;

  /// The next step, if there is one.
  __device__ inline void load(uint8_t* stage) {
    if (item >= count) return;
    if (step == end) {
      const TileRows rows = rows_of<Tile>(call, schedule, item);
      step = rows.first_step, end = rows.end_step;
      const void* scales;  // of groups: bf16 has none
      find_sources<Tile, kGated>(call, rows.group, rows.first, rows.end, rows.feature_tile * kTileFeatures<Tile, kGated>, from, scales);
    }
    const int thread = static_cast<int>(threadIdx.x), row = thread / 8, chunk = thread % 8;
    const int column = step * Tile::kDepth + chunk * 8;
    const bool inside = column < call.k;
    constexpr int kRows = Tile::kThreads / 8 * SwizzledRows::kRowBytes;  // bytes from one of a thread's rows to the next; a multiple of the swizzle's
    static_assert(kRows % SwizzledRows::kRepeat == 0);
    uint8_t* to = stage + SwizzledRows::at(row, chunk);
    CANVASLAB_UNROLL
    for (int i = 0; i < TileSources<Tile>::kWeightRows; ++i) {
      const bool present = inside && from.w_row[i] != TileSources<Tile>::kNone;
      copy_16(to + i * kRows, present ? from.w + from.w_row[i] * int64_t{16} + 2 * column : from.w, present);
    }
    CANVASLAB_UNROLL
    for (int i = 0; i < TileSources<Tile>::kTokenRows; ++i) {
      const bool present = inside && from.x_row[i] != TileSources<Tile>::kNone;
      copy_16(to + Tile::kWeightBytes + i * kRows, present ? from.x + from.x_row[i] * int64_t{16} + 2 * column : from.x, present);
    }
    if (++step == end) item += gridDim.x;
  }
};

/// Every result is one thread's: it has two features 8 apart, or one where kGated, in kTokens / 4 rows.
template <typename Tile, bool kGated>
__device__ inline void put_tile(const ProductCall& call, const TileRows& rows, const float (&sums)[Tile::kSums]) {
  constexpr int kOwn = kGated ? 1 : 2;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, first_feature = rows.feature_tile * kTileFeatures<Tile, kGated>;
  const float* scales = call.w.row_scales ? call.w.row_scales + static_cast<int64_t>(rows.group) * (kGated ? 2 * call.n : call.n) : nullptr;
  int features[kOwn];
  float scale[kOwn], up_scale = 1;
  CANVASLAB_UNROLL
  for (int below = 0; below < kOwn; ++below) {
    features[below] = feature_of<Tile, kGated>(first_feature, thread / kWarp * 16 + lane / 4 + 8 * below);  // warps of both warpgroups in a row: 16 weight rows each
    scale[below] = scales && features[below] < call.n ? scales[features[below]] : 1.0f;
    if (kGated && scales && features[below] < call.n) up_scale = scales[call.n + features[below]];
  }
  CANVASLAB_UNROLL
  for (int j = 0; j < Tile::kTokens / 8; ++j)
    CANVASLAB_UNROLL
    for (int side = 0; side < 2; ++side) {
      const int row = rows.first + 8 * j + lane % 4 * 2 + side;
      if (row >= rows.end) continue;
      CANVASLAB_UNROLL
      for (int below = 0; below < kOwn; ++below) {
        if (features[below] >= call.n) continue;
        const float value = sums[4 * j + 2 * below + side] * scale[below];
        if constexpr (kGated) call.out.put(row, features[below], row_gelu_times(value, sums[4 * j + 2 + side] * up_scale));
        else put_result(call, rows.piece, row, features[below], value);
      }
    }
}

template <typename Tile, bool kGated>
__global__ void __launch_bounds__(Tile::kThreads, 1) warpgroup_product_kernel(ProductCall call) {
  prefetch_weights<Tile, kGated>(call);
  wait_for_earlier_kernels();
  let_later_kernels_begin();
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __trap();  // other architectures have no such instructions; the launcher asks
#else
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ int32_t before[kMaxGroups + 1];
  count_tiles<Tile>(call, before);
  const TileSchedule schedule{before, call.num_groups, TileSchedule::row_tiles(call.n, kTileFeatures<Tile, kGated>)};
  const int64_t count = schedule.count() * call.pieces;

  auto* ring = reinterpret_cast<uint8_t*>(memory);
  ring += (0u - shared_address(ring)) % SwizzledRows::kRepeat;
  uint8_t* const ring_end = ring + Tile::kStages * Tile::kStageBytes;
  const auto next = [&](uint8_t* stage) { return stage + Tile::kStageBytes == ring_end ? ring : stage + Tile::kStageBytes; };

  StepsAhead<Tile, kGated> ahead{call, schedule, static_cast<int64_t>(blockIdx.x), count, 0, 0, {}};
  uint8_t *filled = ring, *used = ring;
  for (int i = 0; i < Tile::kStages - 2; ++i) {
    ahead.load(filled);
    commit_copies();
    filled = next(filled);
  }
  const int own_rows = static_cast<int>(threadIdx.x) / Tile::kWarpgroup * (Tile::kWeightBytes / 2);
  for (int64_t item = blockIdx.x; item < count; item += gridDim.x) {
    float sums[Tile::kSums];
    const TileRows rows = rows_of<Tile>(call, schedule, item);
    for (int step = rows.first_step; step < rows.end_step; ++step) {
      wait_for_copies<Tile::kStages - 3>();
      fence_async_proxy();
      __syncthreads();  // everybody's copies of this step are there, and everybody's products of the step before the last are done
      const uint64_t w = SwizzledRows::descriptor(shared_address(used + own_rows)), x = SwizzledRows::descriptor(shared_address(used + Tile::kWeightBytes));
      fence_sums();
      CANVASLAB_UNROLL
      for (int k = 0; k < Tile::kDepth / 16; ++k) multiply_warpgroup(sums, w + k * SwizzledRows::kNext16, x + k * SwizzledRows::kNext16, step > rows.first_step || k > 0);
      commit_products();
      ahead.load(filled);
      commit_copies();
      wait_for_products<1>();
      filled = next(filled);
      used = next(used);
    }
    wait_for_products<0>();
    sums_are_there(sums);
    put_tile<Tile, kGated>(call, rows_of<Tile>(call, schedule, item), sums);
  }
#endif
}

}  // namespace canvaslab::cuda
