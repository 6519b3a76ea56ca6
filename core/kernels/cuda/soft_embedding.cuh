#pragma once
// Self-conditioning, the kernels, one after another:
//   scale    a block a row: largest logit and sum of the softmax
//   keep     a block 1024 tokens: which of them any row needs, how many       (only where tokens are left out)
//   place    a block 1024 tokens: where the kept ones stand, in rising order; every block adds up the counts of those before it
//   spread   a block a row: probabilities of the kept tokens side by side in bf16, and the mass of the others
//   multiply a block 128 columns of the table by 128 rows by one piece of the kept tokens: the tile of product_tile.cuh, its left side loaded transposed from the table as it lies
//   add      pieces in their order
// Logits are read from memory two to three times, 0.06 ms each at 256 rows of 262144; the table once for every 128 rows.
#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/product_tile.cuh"
#include "core/kernels/cuda/soft_embedding.h"
#include "core/kernels/row_arithmetic.h"

namespace canvaslab::cuda {

struct SoftTile {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp, kBlockTokens = kSoftBlockTokens, kGroups = kBlockTokens / kWarp;
};

/// ProductTile whose left side stands in shared memory as [kDepth, kFeatures].
struct TableTile : ProductTile<128, WeightFormat::kBf16> {
  static constexpr int kTableRow = kFeatures + 8;  // 272 bytes: addresses of a matrix load fall into different banks
  static_assert(kDepth * kTableRow * 2 <= kCodeBytes);
};

__device__ inline float inverse_temperature_of(const SoftEmbeddingCall& call) { return call.inverse_temperature_at ? *call.inverse_temperature_at : call.inverse_temperature; }

__device__ inline float soft_probability(float logit, const float* row_scale, float inverse_temperature) { return row_exponential((logit - row_scale[0]) * inverse_temperature) * row_scale[1]; }

__global__ void __launch_bounds__(SoftTile::kThreads) soft_scale_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ float tops[SoftTile::kWarps];
  __shared__ double sums[SoftTile::kWarps];
  const int64_t r = blockIdx.x;
  const float* logits = call.logits + r * call.vocabulary;
  const float inverse_temperature = inverse_temperature_of(call);
  float top = -INFINITY;
  for (int v = static_cast<int>(threadIdx.x); v < call.vocabulary; v += SoftTile::kThreads) top = logits[v] > top ? logits[v] : top;
  top = block_max<SoftTile::kWarps>(top, tops);
  double sum = 0;
  for (int v = static_cast<int>(threadIdx.x); v < call.vocabulary; v += SoftTile::kThreads) sum += static_cast<double>(row_exponential((logits[v] - top) * inverse_temperature));
  sum = block_sum<SoftTile::kWarps>(sum, sums);
  const SoftWorkspace work(call);
  if (threadIdx.x == 0) work.row_scale[2 * r] = top, work.row_scale[2 * r + 1] = static_cast<float>(1 / sum);
}

__global__ void __launch_bounds__(SoftTile::kThreads) soft_keep_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ int counts[SoftTile::kWarps];
  const SoftWorkspace work(call);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const float inverse_temperature = inverse_temperature_of(call);
  int count = 0;
  for (int first = static_cast<int>(blockIdx.x) * SoftTile::kBlockTokens + warp * kWarp, end = (static_cast<int>(blockIdx.x) + 1) * SoftTile::kBlockTokens; first < end; first += SoftTile::kThreads) {
    const int v = first + lane;
    bool needed = false;
    for (int r = 0; v < call.vocabulary && r < call.rows && !needed; ++r)
      needed = soft_probability(call.logits[static_cast<int64_t>(r) * call.vocabulary + v], work.row_scale + 2 * r, inverse_temperature) >= call.least;
    if (v < call.vocabulary) work.needed[v] = needed;
    count += __popc(__ballot_sync(kWholeWarp, needed));
  }
  if (lane == 0) counts[warp] = count;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < SoftTile::kWarps; ++w) count += counts[w];
  work.counts[blockIdx.x] = count;
}

__global__ void __launch_bounds__(SoftTile::kThreads) soft_place_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ int scratch[SoftTile::kWarps], before_group[SoftTile::kGroups];
  const SoftWorkspace work(call);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, first = static_cast<int>(blockIdx.x) * SoftTile::kBlockTokens;
  int before = 0;
  for (int b = static_cast<int>(threadIdx.x); b < static_cast<int>(blockIdx.x); b += SoftTile::kThreads) before += work.counts[b];
  before = block_sum<SoftTile::kWarps>(before, scratch);
  const auto needed = [&](int group) {
    const int v = first + group * kWarp + lane;
    return v < call.vocabulary && work.needed[v] != 0;
  };
  for (int group = warp; group < SoftTile::kGroups; group += SoftTile::kWarps) {
    const unsigned all = __ballot_sync(kWholeWarp, needed(group));
    if (lane == 0) before_group[group] = __popc(all);
  }
  __syncthreads();
  if (warp == 0) {
    static_assert(SoftTile::kGroups == kWarp);
    const int own = before_group[lane], sum = warp_sum_before(own);
    before_group[lane] = sum;
    if (lane == kWarp - 1 && blockIdx.x + 1 == gridDim.x) *work.num_kept = before + sum + own;
  }
  __syncthreads();
  for (int group = warp; group < SoftTile::kGroups; group += SoftTile::kWarps) {
    const bool mine = needed(group);
    const unsigned all = __ballot_sync(kWholeWarp, mine);
    const int v = first + group * kWarp + lane, at = before + before_group[group] + __popc(all & ((1u << lane) - 1));
    if (v < call.vocabulary) work.place[v] = mine ? at : -1;
    if (mine) work.kept[at] = v;
  }
}

__global__ void __launch_bounds__(SoftTile::kThreads) soft_spread_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ double sums[SoftTile::kWarps];
  const SoftWorkspace work(call);
  const bool dense = !(call.least > 0);
  const int64_t r = blockIdx.x;
  const int kept = dense ? call.vocabulary : *work.num_kept, padded = (kept + 63) / 64 * 64;
  uint16_t* out = work.probability + r * work.stride;
  const float inverse_temperature = inverse_temperature_of(call);
  double skipped = 0;
  for (int v = static_cast<int>(threadIdx.x); v < call.vocabulary; v += SoftTile::kThreads) {
    const float p = soft_probability(call.logits[r * call.vocabulary + v], work.row_scale + 2 * r, inverse_temperature);
    const int at = dense ? v : work.place[v];
    if (at >= 0) out[at] = nearest_bf16(p);
    else skipped += static_cast<double>(p);
  }
  for (int at = kept + static_cast<int>(threadIdx.x); at < padded; at += SoftTile::kThreads) out[at] = 0;
  skipped = block_sum<SoftTile::kWarps>(skipped, sums);
  if (threadIdx.x != 0) return;
  if (call.skipped) call.skipped[r] = static_cast<float>(skipped);
  if (call.num_kept && r == 0) *call.num_kept = kept;
}

__global__ void __launch_bounds__(TableTile::kThreads, 2) soft_multiply_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  using Tile = TableTile;
  const SoftWorkspace work(call);
  const bool dense = !(call.least > 0);
  const int feature_tiles = (call.width + Tile::kFeatures - 1) / Tile::kFeatures, row_tiles = (call.rows + Tile::kTokens - 1) / Tile::kTokens;
  // Row tiles of the same part of the table run side by side.
  const int row_tile = static_cast<int>(blockIdx.x) % row_tiles, feature_tile = static_cast<int>(blockIdx.x) / row_tiles % feature_tiles, piece = static_cast<int>(blockIdx.x) / row_tiles / feature_tiles;
  const int kept = dense ? call.vocabulary : *work.num_kept, steps = (kept + Tile::kDepth - 1) / Tile::kDepth, each = (steps + kSoftSplits - 1) / kSoftSplits;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp, slab = warp % Tile::kSlabs * 32;
  const int first_row = row_tile * Tile::kTokens, first_feature = feature_tile * Tile::kFeatures;
  uint32_t x_row[TileSources<Tile>::kTokenRows];
  CANVASLAB_UNROLL
  for (int i = 0; i < TileSources<Tile>::kTokenRows; ++i) {
    const int row = first_row + thread / 8 + i * (Tile::kThreads / 8);
    x_row[i] = row < call.rows ? static_cast<uint32_t>(row * work.stride / 8) : TileSources<Tile>::kNone;
  }
  const auto load = [&](int step, uint8_t* stage) {
    constexpr int kChunks = Tile::kFeatures / 8;
    CANVASLAB_UNROLL
    for (int i = 0; i < Tile::kDepth * kChunks / Tile::kThreads; ++i) {
      const int at = thread + i * Tile::kThreads, row = at / kChunks, column = at % kChunks * 8, k = step * Tile::kDepth + row;
      const bool present = k < kept && first_feature + column < call.width;
      const int64_t token = !present ? 0 : dense ? k : work.kept[k];
      copy_16(stage + (row * Tile::kTableRow + column) * 2, call.table + token * call.width + (present ? first_feature + column : 0), present);
    }
    load_x<Tile>(reinterpret_cast<const uint8_t*>(work.probability), x_row, step, (kept + 63) / 64 * 64, reinterpret_cast<uint16_t*>(stage + Tile::kCodeBytes));
  };
  Sums<Tile> sums = {};
  const auto use = [&](int, const uint8_t* stage) {
    const auto* table = reinterpret_cast<const uint16_t*>(stage);
    const auto left = [&](int m, int k, uint32_t (&a)[4]) { load_matrices_transposed(a, table + (k + lane % 8 + lane / 16 * 8) * Tile::kTableRow + slab + 16 * m + lane / 8 % 2 * 8); };
    multiply_step<Tile>(left, reinterpret_cast<const uint16_t*>(stage + Tile::kCodeBytes), call.rows - first_row, sums);
  };
  run_steps<Tile>(min(piece * each, steps), min((piece + 1) * each, steps), reinterpret_cast<uint8_t*>(memory), load, use);

  const int half = warp / Tile::kSlabs * (Tile::kTokens / 2);
  CANVASLAB_UNROLL
  for (int m = 0; m < 2; ++m)
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kFragments; ++f)
      CANVASLAB_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int feature = first_feature + slab + 16 * m + lane / 4 + i / 2 * 8, row = first_row + half + 8 * f + lane % 4 * 2 + i % 2;
        if (feature < call.width && row < call.rows) work.pieces[(static_cast<int64_t>(piece) * call.rows + row) * call.width + feature] = sums[m][f][i];
      }
}

__global__ void __launch_bounds__(SoftTile::kThreads) soft_add_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const SoftWorkspace work(call);
  const int64_t r = blockIdx.x, piece = static_cast<int64_t>(call.rows) * call.width;
  for (int c = static_cast<int>(threadIdx.x); c < call.width; c += SoftTile::kThreads) {
    float sum = 0;
    for (int p = 0; p < kSoftSplits; ++p) sum = sum + work.pieces[p * piece + r * call.width + c];
    call.out.put(r, c, sum * call.scale);
  }
}

/// Where there is no prediction.
__global__ void __launch_bounds__(SoftTile::kThreads) soft_zero_kernel(SoftEmbeddingCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  for (int c = static_cast<int>(threadIdx.x); c < call.width; c += SoftTile::kThreads) call.out.put(blockIdx.x, c, 0);
  if (threadIdx.x == 0 && call.skipped) call.skipped[blockIdx.x] = 0;
}

/// Blocks of soft_multiply_kernel.
constexpr unsigned soft_multiply_blocks(const SoftEmbeddingCall& call) {
  return static_cast<unsigned>((call.rows + TableTile::kTokens - 1) / TableTile::kTokens * ((call.width + TableTile::kFeatures - 1) / TableTile::kFeatures) * kSoftSplits);
}

}  // namespace canvaslab::cuda
