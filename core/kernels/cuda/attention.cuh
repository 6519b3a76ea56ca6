#pragma once
// Attention, the kernels. One block takes 64 queries of one head and one part of the keys, 32 keys at a time.
//
//   shared memory:  q [64, Dh]   k [32, Dh]   v [32, Dh]   rows padded by 16 bytes (Dh 512: 130 KiB, one block a multiprocessor; Dh 256: 66 KiB, two on sm_80, three on sm_90)
//
//   warp (r, s) of 4 x kSides:   scores of queries [16 r, 16 r + 16) by the block's keys -> softmax weights in registers -> columns of side s of their sum of values
//
// A head of 512 has two sides: values gathered for 16 queries by 512 columns would be all the registers a warp has. Each side makes the scores of half the keys and they trade; the weights are then the
// same bits on both. The next block's keys are copied while this one's values are used, its values while the next scores are made. Softmax over what came so far, put right when a larger score comes
// (Milakov and Gimelshein 2018). Weights are rounded to bf16 before they are summed, so that they sum to one as they are used.
#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/tensor_core.cuh"
#include "core/kernels/row_arithmetic.h"

namespace canvaslab::cuda {

template <int kWidth_>
struct AttentionTile {
  static constexpr int kWidth = kWidth_;
  static constexpr int kQueries = 64, kSides = kWidth > 256 ? 2 : 1;
  static constexpr int kWarps = kQueries / 16 * kSides, kThreads = kWarps * kWarp;
  static constexpr int kRow = kWidth + 8;                       // elements from row to row in shared memory: the eight addresses of a matrix load fall into different banks
  static constexpr int kScoreFragments = kKeyBlock / 8;         // of 16 queries by 8 keys
  static constexpr int kColumns = kWidth / kSides, kFragments = kColumns / 8;
  static constexpr int kOwn = kScoreFragments / kSides;         // score fragments that a warp makes itself
  static constexpr int kTradeBytes = kSides == 1 ? 0 : kWarps * kOwn * kWarp * 16;
  static constexpr int kBytes = (kQueries + 2 * kKeyBlock) * kRow * 2 + kTradeBytes;
  static_assert(kWidth % 16 == 0 && kOwn % 2 == 0, "matrix loads take 16 columns and 16 keys");
};

/// Where a sequence's key stands.
__device__ inline const uint16_t* key_row(const uint16_t* cached, const uint16_t* fresh, const AttentionSequence& sequence, int head, int key) {
  const bool old = key < sequence.cached.count;
  const KeySpan& span = old ? sequence.cached : sequence.fresh;
  return (old ? cached : fresh) + head * span.head_stride + static_cast<int64_t>(old ? key : key - sequence.cached.count) * span.row_stride;
}

/// Asks for keys or values [first, first + kKeyBlock); zeros from `end` on, for which `anything` is an address of global memory.
template <typename Tile>
__device__ inline void load_keys(const uint16_t* cached, const uint16_t* fresh, const AttentionSequence& sequence, int head, int first, int end, const void* anything, uint16_t* to) {
  constexpr int kChunks = Tile::kWidth / 8;
  for (int at = static_cast<int>(threadIdx.x); at < kKeyBlock * kChunks; at += Tile::kThreads) {
    const int row = at / kChunks, column = at % kChunks * 8;
    const bool present = first + row < end;
    copy_16(to + row * Tile::kRow + column, present ? static_cast<const void*>(key_row(cached, fresh, sequence, head, first + row) + column) : anything, present);
  }
}

/// What a lane knows of its two queries, rows g and g + 8 of the warp's sixteen.
struct LaneQueries {
  int from[2], to[2];  // keys that they see
  float top[2], sum[2];
};

/// Scores of the block's keys -> fragments [kScoreFragments], the same in both sides.
template <typename Tile>
__device__ inline void make_scores(const uint16_t* q, const uint16_t* k, float* trade, float (&scores)[Tile::kScoreFragments][4]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, side = warp / 4;
  float own[Tile::kOwn][4] = {};
  const uint16_t* queries = q + (warp % 4 * 16 + lane % 16) * Tile::kRow + lane / 16 * 8;
  const uint16_t* keys = k + (side * Tile::kOwn * 8 + lane % 8 + lane / 16 * 8) * Tile::kRow + lane / 8 % 2 * 8;
  CANVASLAB_UNROLL
  for (int column = 0; column < Tile::kWidth; column += 16) {
    uint32_t a[4], both[4];
    load_matrices(a, queries + column);
    CANVASLAB_UNROLL
    for (int pair = 0; pair < Tile::kOwn / 2; ++pair) {
      load_matrices(both, keys + 16 * pair * Tile::kRow + column);
      const uint32_t left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
      mma_16x8x16(own[2 * pair], a, left);
      mma_16x8x16(own[2 * pair + 1], a, right);
    }
  }
  if constexpr (Tile::kSides == 1) {
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kScoreFragments; ++f)
      CANVASLAB_UNROLL
      for (int i = 0; i < 4; ++i) scores[f][i] = own[f][i];
  } else {
    const auto at = [&](int w, int f, int i) -> float& { return trade[((w * Tile::kOwn + f) * 4 + i) * kWarp + lane]; };
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kOwn; ++f)
      CANVASLAB_UNROLL
      for (int i = 0; i < 4; ++i) at(warp, f, i) = own[f][i];
    __syncthreads();
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kScoreFragments; ++f)
      CANVASLAB_UNROLL
      for (int i = 0; i < 4; ++i) scores[f][i] = at(warp % 4 + 4 * (f / Tile::kOwn), f % Tile::kOwn, i);
  }
}

/// Scores become weights, two bf16 a word as the tensor cores want their left side; what was gathered is put right.
template <typename Tile>
__device__ inline void weigh(int first, float (&scores)[Tile::kScoreFragments][4], LaneQueries& lanes, float (&gathered)[Tile::kFragments][4], uint32_t (&weights)[kKeyBlock / 16][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  CANVASLAB_UNROLL
  for (int row = 0; row < 2; ++row) {
    float top = -INFINITY;
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kScoreFragments; ++f)
      CANVASLAB_UNROLL
      for (int side = 0; side < 2; ++side) {
        const int key = first + 8 * f + lane % 4 * 2 + side;
        float& score = scores[f][2 * row + side];
        if (key < lanes.from[row] || key >= lanes.to[row]) score = -INFINITY;
        top = score > top ? score : top;
      }
    for (int step = 1; step < 4; step *= 2) {  // the four lanes of a query
      const float other = __shfl_xor_sync(kWholeWarp, top, step);
      top = other > top ? other : top;
    }
    top = lanes.top[row] > top ? lanes.top[row] : top;
    const float base = top > -INFINITY ? top : 0.0f;  // nothing seen yet: weights of zero, not NaN
    const float factor = row_exponential(lanes.top[row] - base);
    lanes.top[row] = top;
    float sum = 0;
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kScoreFragments; ++f) {
      const uint16_t low = nearest_bf16(row_exponential(scores[f][2 * row] - base)), high = nearest_bf16(row_exponential(scores[f][2 * row + 1] - base));
      sum = sum + (from_bf16(low) + from_bf16(high));
      weights[f / 2][f % 2 * 2 + row] = static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
    }
    lanes.sum[row] = lanes.sum[row] * factor + sum;
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kFragments; ++f)
      CANVASLAB_UNROLL
      for (int side = 0; side < 2; ++side) gathered[f][2 * row + side] = gathered[f][2 * row + side] * factor;
  }
}

/// gathered += weights times the values of this warp's columns.
template <typename Tile>
__device__ inline void gather(const uint16_t* v, const uint32_t (&weights)[kKeyBlock / 16][4], float (&gathered)[Tile::kFragments][4]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint16_t* values = v + lane % 16 * Tile::kRow + warp / 4 * Tile::kColumns + lane / 16 * 8;
  CANVASLAB_UNROLL
  for (int pair = 0; pair < Tile::kFragments / 2; ++pair) {
    CANVASLAB_UNROLL
    for (int keys = 0; keys < kKeyBlock / 16; ++keys) {
      uint32_t both[4];
      load_matrices_transposed(both, values + keys * 16 * Tile::kRow + 16 * pair);
      const uint32_t left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
      mma_16x8x16(gathered[2 * pair], weights[keys], left);
      mma_16x8x16(gathered[2 * pair + 1], weights[keys], right);
    }
  }
}

/// A block's share of the call.
struct AttentionPart {
  int sequence, head, first_query, split;
};
template <typename Tile>
__device__ inline AttentionPart attention_part(const AttentionCall& call) {
  int64_t at = blockIdx.x;
  const int splits = attention_splits(call.most_keys), tiles = (call.most_rows + Tile::kQueries - 1) / Tile::kQueries;
  AttentionPart part{};
  part.split = static_cast<int>(at % splits);
  at /= splits;
  part.first_query = static_cast<int>(at % tiles) * Tile::kQueries;
  at /= tiles;
  part.head = static_cast<int>(at % call.num_heads);
  part.sequence = static_cast<int>(at / call.num_heads);
  return part;
}

/// Keys [first, end) of a part: whole blocks, evenly many.
__device__ inline void split_keys(int keys, int splits, int split, int& first, int& end) {
  const int each = ((keys + splits - 1) / splits + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
  first = min(split * each, keys);
  end = min(first + each, keys);
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) attention_kernel(AttentionCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  const AttentionPart part = attention_part<Tile>(call);
  const AttentionSequence sequence = call.sequences[part.sequence];
  const int keys = sequence.cached.count + sequence.fresh.count, splits = attention_splits(keys);
  if (part.first_query >= sequence.num_rows || part.split >= splits) return;  // whole blocks
  auto *q = reinterpret_cast<uint16_t*>(memory), *k = q + Tile::kQueries * Tile::kRow, *v = k + kKeyBlock * Tile::kRow;
  auto* trade = reinterpret_cast<float*>(v + kKeyBlock * Tile::kRow);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, kv_head = part.head * call.num_kv_heads / call.num_heads;
  const int queries = min(Tile::kQueries, sequence.num_rows - part.first_query);
  const int64_t first_row = sequence.first_row + part.first_query;

  int first, end;
  split_keys(keys, splits, part.split, first, end);
  if (call.from) {  // keys that no query of the tile sees
    int least = end, most = first;
    for (int i = 0; i < queries; ++i) {
      least = min(least, call.from[first_row + i]);
      most = max(most, call.to[first_row + i]);
    }
    if (least > first) first += (least - first) / kKeyBlock * kKeyBlock;
    end = min(end, most);
  }
  LaneQueries lanes{};
  CANVASLAB_UNROLL
  for (int row = 0; row < 2; ++row) {
    const int query = warp % 4 * 16 + lane / 4 + 8 * row;
    lanes.top[row] = -INFINITY;
    lanes.from[row] = call.from && query < queries ? call.from[first_row + query] : 0;
    lanes.to[row] = min(end, call.from && query < queries ? call.to[first_row + query] : end);
  }
  float gathered[Tile::kFragments][4] = {};

  constexpr int kChunks = Tile::kWidth / 8;
  for (int at = static_cast<int>(threadIdx.x); at < Tile::kQueries * kChunks; at += Tile::kThreads) {
    const int row = at / kChunks, column = at % kChunks * 8;
    const bool present = row < queries;
    copy_16(q + row * Tile::kRow + column, present ? static_cast<const void*>(call.q + (first_row + row) * call.q_stride + static_cast<int64_t>(part.head) * Tile::kWidth + column) : call.q, present);
  }
  load_keys<Tile>(sequence.cached.k, sequence.fresh.k, sequence, kv_head, first, end, call.q, k);
  commit_copies();
  load_keys<Tile>(sequence.cached.v, sequence.fresh.v, sequence, kv_head, first, end, call.q, v);
  commit_copies();
  for (int block = first; block < end; block += kKeyBlock) {
    float scores[Tile::kScoreFragments][4];
    uint32_t weights[kKeyBlock / 16][4];
    wait_for_copies<1>();
    __syncthreads();  // keys are there
    make_scores<Tile>(q, k, trade, scores);
    __syncthreads();  // nobody reads keys any more
    if (block + kKeyBlock < end) load_keys<Tile>(sequence.cached.k, sequence.fresh.k, sequence, kv_head, block + kKeyBlock, end, call.q, k);
    commit_copies();
    weigh<Tile>(block, scores, lanes, gathered, weights);
    wait_for_copies<1>();
    __syncthreads();  // values are there
    gather<Tile>(v, weights, gathered);
    __syncthreads();
    if (block + kKeyBlock < end) load_keys<Tile>(sequence.cached.v, sequence.fresh.v, sequence, kv_head, block + kKeyBlock, end, call.q, v);
    commit_copies();
  }
  wait_for_copies<0>();

  CANVASLAB_UNROLL
  for (int row = 0; row < 2; ++row) {
    float sum = lanes.sum[row];
    for (int step = 1; step < 4; step *= 2) sum = sum + __shfl_xor_sync(kWholeWarp, sum, step);
    const int query = warp % 4 * 16 + lane / 4 + 8 * row;
    if (query >= queries) continue;
    const float factor = splits == 1 && sum > 0 ? 1.0f / sum : 1.0f;
    // [rows, H, parts, Dh + 2]
    float* partial = splits == 1 ? nullptr : call.workspace + (((first_row + query) * call.num_heads + part.head) * attention_splits(call.most_keys) + part.split) * (Tile::kWidth + 2);
    CANVASLAB_UNROLL
    for (int f = 0; f < Tile::kFragments; ++f)
      CANVASLAB_UNROLL
      for (int side = 0; side < 2; ++side) {
        const int column = warp / 4 * Tile::kColumns + 8 * f + lane % 4 * 2 + side;
        const float value = gathered[f][2 * row + side] * factor;
        if (partial) partial[column] = value;
        else call.out.put(first_row + query, static_cast<int64_t>(part.head) * Tile::kWidth + column, value);
      }
    if (partial && lane % 4 == 0 && warp / 4 == 0) {
      partial[Tile::kWidth] = lanes.top[row];
      partial[Tile::kWidth + 1] = sum;
    }
  }
}

struct MergeTile {
  static constexpr int kThreads = 128;
};

/// Parts joined in their order. One block a row of a sequence and head.
__global__ void __launch_bounds__(MergeTile::kThreads) merge_attention_kernel(AttentionCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const auto head = static_cast<int>(static_cast<int64_t>(blockIdx.x) % call.num_heads);
  const int64_t at = static_cast<int64_t>(blockIdx.x) / call.num_heads;
  const AttentionSequence sequence = call.sequences[at / call.most_rows];
  const int query = static_cast<int>(at % call.most_rows), splits = attention_splits(sequence.cached.count + sequence.fresh.count), width = call.head_width;
  if (query >= sequence.num_rows || splits == 1) return;
  const int64_t row = sequence.first_row + query;
  const float* parts = call.workspace + (row * call.num_heads + head) * attention_splits(call.most_keys) * (width + 2);
  float top = -INFINITY, factor[kMaxSplits], sum = 0;
  for (int p = 0; p < splits; ++p) {
    const float own = parts[p * (width + 2) + width];
    top = own > top ? own : top;
  }
  CANVASLAB_UNROLL
  for (int p = 0; p < kMaxSplits; ++p) {
    factor[p] = 0;
    if (p >= splits || !(top > -INFINITY)) continue;
    factor[p] = row_exponential(parts[p * (width + 2) + width] - top);
    sum = sum + factor[p] * parts[p * (width + 2) + width + 1];
  }
  const float inverse = sum > 0 ? 1.0f / sum : 0.0f;
  for (int c = static_cast<int>(threadIdx.x); c < width; c += MergeTile::kThreads) {
    float value = 0;
    CANVASLAB_UNROLL
    for (int p = 0; p < kMaxSplits; ++p)
      if (p < splits) value = value + factor[p] * parts[p * (width + 2) + c];
    call.out.put(row, static_cast<int64_t>(head) * width + c, value * inverse);
  }
}

}  // namespace canvaslab::cuda
