#pragma once
// One tile of a product by one block of eight warps: 128 weight rows by kTokens rows of x, K in steps of 64.
//
//          K ->                        Weights are the tensor cores' left side (16 rows at once), rows of x their right side (8 at once): an expert with 9 rows costs 16, not 64.
//   w  [128, 64]  x  [kTokens, 64]     Both stand in shared memory as they lie in the checkpoint, K along the row, rows padded by 16 bytes: the eight addresses of a matrix load then fall into
//        \         /                   different banks. A ring of kStages steps is filled by asynchronous copies: kStages - 1 steps of weights (16 KiB each) are under way per block, two blocks
//     warp (s, h): weight rows         per multiprocessor; 26 KiB in flight would do at 4.3 TB/s and 0.8 us.
//     [32 s, 32 s + 32) by the         Codes of fewer bits go through the ring as they are and become bf16 in a buffer behind it: e4m3 and e2m1 times a group's scale fit bf16 exactly; the
//     h-th half of the rows of x       row's scale multiplies the finished sum.
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/tensor_core.cuh"

namespace canvaslab::cuda {

template <int kTokens_, WeightFormat kFormat_>
struct ProductTile {
  static constexpr int kTokens = kTokens_;
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kThreads = 256, kWarps = 8, kSlab = 32, kSlabs = 4;  // slabs of 32 weight rows
  static constexpr int kFeatures = kSlab * kSlabs, kDepth = 64;
  static constexpr int kRow = kDepth + 8;                       // elements from row to row in shared memory: 144 bytes
  static constexpr int kStages = kTokens == 64 ? 4 : 3;         // 108 KiB either way with bf16: two blocks on sm_90, one on sm_80
  static constexpr int kFragments = kTokens / 2 / 8;            // of a warp along its rows of x
  static constexpr bool kPacked = kFormat != WeightFormat::kBf16;
  static constexpr int kStepBytes = kFormat == WeightFormat::kBf16 ? 2 * kDepth : kFormat == WeightFormat::kE4m3 ? kDepth : kDepth / 2;  // of a weight row
  static constexpr int kCodeRow = kStepBytes + 16;
  static constexpr int kCodeBytes = kFeatures * kCodeRow, kTokenBytes = kTokens * kRow * 2, kStageBytes = kCodeBytes + kTokenBytes;
  static constexpr int kUnpackedBytes = kPacked ? kFeatures * kRow * 2 : 0;
  static constexpr int kBytes = kStages * kStageBytes + kUnpackedBytes;  // of dynamic shared memory
  static_assert(kTokens % 32 == 0, "a matrix load takes 16 rows of x, and two halves share them");
};

/// What one thread copies into every stage: its rows are the same at every step.
template <typename Tile>
struct TileSources {
  static constexpr int kChunks = Tile::kStepBytes / 16;                                  // of a weight row and step
  static constexpr int kWeightRows = (Tile::kFeatures * kChunks + Tile::kThreads - 1) / Tile::kThreads;  // copies a thread
  static constexpr int kTokenRows = Tile::kTokens * 8 / Tile::kThreads;
  static constexpr uint32_t kNone = ~uint32_t{0};                                        // zeros are copied
  const uint8_t *w, *x;
  uint32_t w_row[kWeightRows], x_row[kTokenRows];  // where the row begins, in units of 16 bytes: half the registers of pointers
};

/// Asks for a step of the rows of x.
template <typename Tile>
__device__ inline void load_x(const uint8_t* x, const uint32_t (&rows)[TileSources<Tile>::kTokenRows], int step, int k, uint16_t* to) {
  const int thread = static_cast<int>(threadIdx.x), column = thread % 8 * 8;
  CANVASLAB_UNROLL
  for (int i = 0; i < TileSources<Tile>::kTokenRows; ++i) {
    const int64_t at = static_cast<int64_t>(step) * Tile::kDepth + column;
    const bool present = rows[i] != TileSources<Tile>::kNone && at < k;
    copy_16(to + (thread / 8 + i * (Tile::kThreads / 8)) * Tile::kRow + column, present ? x + rows[i] * int64_t{16} + 2 * at : x, present);
  }
}

template <typename Tile>
__device__ inline void load_step(const TileSources<Tile>& from, int step, int k, uint8_t* stage) {
  using From = TileSources<Tile>;
  const int thread = static_cast<int>(threadIdx.x);
  CANVASLAB_UNROLL
  for (int i = 0; i < From::kWeightRows; ++i) {
    const int at = thread + i * Tile::kThreads, row = at / From::kChunks, chunk = at % From::kChunks;
    const int64_t byte = static_cast<int64_t>(step) * Tile::kStepBytes + chunk * 16, end = static_cast<int64_t>(k) * Tile::kStepBytes / Tile::kDepth;
    const bool present = from.w_row[i] != From::kNone && byte < end;
    copy_16(stage + row * Tile::kCodeRow + chunk * 16, present ? from.w + from.w_row[i] * int64_t{16} + byte : from.w, present);
  }
  load_x<Tile>(from.x, from.x_row, step, k, reinterpret_cast<uint16_t*>(stage + Tile::kCodeBytes));
}

/// Two numbers that bf16 holds exactly, as one word.
__device__ inline uint32_t exact_pair(float low, float high) { return bits_of_float(low) >> 16 | (bits_of_float(high) & 0xFFFF0000u); }

/// Codes of a step -> bf16 [kFeatures, kRow]. Thread t has half t % 2 of row t / 2; `scales` are the group scales of that row, or null: no such row.
template <typename Tile>
__device__ inline void unpack_step(const uint8_t* stage, const void* scales, int step, int k, uint16_t* unpacked) {
  static_assert(Tile::kThreads == 2 * Tile::kFeatures);
  const int row = static_cast<int>(threadIdx.x) / 2, first = static_cast<int>(threadIdx.x) % 2 * (Tile::kDepth / 2);
  auto* to = reinterpret_cast<uint32_t*>(unpacked + row * Tile::kRow + first);
  if constexpr (Tile::kFormat == WeightFormat::kE4m3) {
    const auto* codes = reinterpret_cast<const uint32_t*>(stage + row * Tile::kCodeRow + first);
    CANVASLAB_UNROLL
    for (int i = 0; i < Tile::kDepth / 8; ++i) {
      const uint32_t four = codes[i];
      to[2 * i] = exact_pair(from_e4m3(static_cast<uint8_t>(four)), from_e4m3(static_cast<uint8_t>(four >> 8)));
      to[2 * i + 1] = exact_pair(from_e4m3(static_cast<uint8_t>(four >> 16)), from_e4m3(static_cast<uint8_t>(four >> 24)));
    }
  } else {
    const auto* codes = reinterpret_cast<const uint32_t*>(stage + row * Tile::kCodeRow + first / 2);
    CANVASLAB_UNROLL
    for (int i = 0; i < Tile::kDepth / 16; ++i) {
      const int column = step * Tile::kDepth + first + 8 * i;  // a word lies in one group
      const uint32_t eight = codes[i];
      if constexpr (Tile::kFormat == WeightFormat::kE2m1) {
        const float scale = scales && column < k ? from_e4m3(static_cast<const uint8_t*>(scales)[column / 16]) : 0.0f;
        CANVASLAB_UNROLL
        for (int j = 0; j < 4; ++j) {
          const auto two = static_cast<uint8_t>(eight >> 8 * j);
          to[4 * i + j] = exact_pair(from_e2m1(two & 15) * scale, from_e2m1(two >> 4) * scale);
        }
      } else {
        const float scale = scales && column < k ? from_bf16(static_cast<const uint16_t*>(scales)[column / 32]) : 0.0f;
        CANVASLAB_UNROLL
        for (int j = 0; j < 4; ++j) {
          const auto two = static_cast<uint8_t>(eight >> 8 * j);
          to[4 * i + j] = static_cast<uint32_t>(nearest_bf16(from_int4(two & 15) * scale)) | static_cast<uint32_t>(nearest_bf16(from_int4(two >> 4) * scale)) << 16;
        }
      }
    }
  }
}

template <typename Tile>
using Sums = float[2][Tile::kFragments][4];

/// The sums of a step. `left` gives the tensor cores' left side: fragment m of the warp's slab at column k of the step. `x_rows`: how many rows of x the tile has; fragments behind them are left out.
template <typename Tile, typename Left>
__device__ inline void multiply_step(Left left, const uint16_t* x, int x_rows, Sums<Tile>& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, half = warp / Tile::kSlabs * (Tile::kTokens / 2);
  CANVASLAB_UNROLL
  for (int k = 0; k < Tile::kDepth; k += 16) {
    uint32_t a[2][4];
    CANVASLAB_UNROLL
    for (int m = 0; m < 2; ++m) left(m, k, a[m]);
    CANVASLAB_UNROLL
    for (int pair = 0; pair < Tile::kFragments / 2; ++pair) {
      const int first = half + 16 * pair;
      if (first >= x_rows) continue;
      uint32_t both[4];
      load_matrices(both, x + (first + lane % 8 + lane / 16 * 8) * Tile::kRow + k + lane / 8 % 2 * 8);
      CANVASLAB_UNROLL
      for (int which = 0; which < 2; ++which) {
        const uint32_t b[2] = {both[2 * which], both[2 * which + 1]};
        CANVASLAB_UNROLL
        for (int m = 0; m < 2; ++m) mma_16x8x16(sums[m][2 * pair + which], a[m], b);
      }
    }
  }
}

/// Runs `use(step, stage)` over the steps while `load(step, stage)` asks for the copies of later ones. All copies are done and all threads are through with shared memory on return.
template <typename Tile, typename Load, typename Use>
__device__ inline void run_steps(int first, int end, uint8_t* memory, Load load, Use use) {
  const auto stage = [&](int step) { return memory + (step - first) % Tile::kStages * Tile::kStageBytes; };
  CANVASLAB_UNROLL
  for (int ahead = 0; ahead < Tile::kStages - 1; ++ahead) {
    if (first + ahead < end) load(first + ahead, stage(first + ahead));
    commit_copies();
  }
  for (int step = first; step < end; ++step) {
    wait_for_copies<Tile::kStages - 2>();
    __syncthreads();  // everybody's copies of this step are there, and nobody reads the step before any more
    if (const int next = step + Tile::kStages - 1; next < end) load(next, stage(next));
    commit_copies();
    use(step, stage(step));
  }
  wait_for_copies<0>();
  __syncthreads();
}

/// The tile's sums over the steps [first, end) of K.
template <typename Tile>
__device__ inline void multiply_tile(const TileSources<Tile>& from, const void* scales, int k, int first, int end, int x_rows, uint8_t* memory, Sums<Tile>& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, slab = warp % Tile::kSlabs * 32;
  auto* unpacked = reinterpret_cast<uint16_t*>(memory + Tile::kStages * Tile::kStageBytes);
  run_steps<Tile>(
      first, end, memory, [&](int step, uint8_t* stage) { load_step<Tile>(from, step, k, stage); },
      [&](int step, const uint8_t* stage) {
        const auto* w = reinterpret_cast<const uint16_t*>(stage);
        if constexpr (Tile::kPacked) {
          unpack_step<Tile>(stage, scales, step, k, unpacked);
          __syncthreads();
          w = unpacked;
        }
        const auto left = [&](int m, int column, uint32_t (&a)[4]) { load_matrices(a, w + (slab + 16 * m + lane % 16) * Tile::kRow + column + lane / 16 * 8); };
        multiply_step<Tile>(left, reinterpret_cast<const uint16_t*>(stage + Tile::kCodeBytes), x_rows, sums);
      });
}

}  // namespace canvaslab::cuda
