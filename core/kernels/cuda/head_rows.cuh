#pragma once
// Norm and rotation of heads, the kernel. One warp takes one head of one row; its values stand in shared memory (at most 2 KiB a warp), so that the pairs of a rotation meet whatever the width.
#include <cmath>

#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/overlap.cuh"

namespace canvaslab::cuda {

struct HeadTile {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp;
  /// Heads of a row: of queries, keys, values.
  static constexpr int64_t items(const HeadRowsCall& call) { return static_cast<int64_t>(call.num_rows) * (call.num_heads + 2 * call.num_kv_heads); }
};

__device__ inline void put_key(const KeyRowsOut& keys, void* to, int64_t row, int64_t head, int column, float value) {
  RowsOut{to, keys.row_stride, keys.storage}.put(row, head * keys.head_stride + column, value);
}

__global__ void __launch_bounds__(HeadTile::kThreads) head_rows_kernel(HeadRowsCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ float values[HeadTile::kWarps][kMaxHeadWidth];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, width = call.head_width, half = width / 2;
  const int H = call.num_heads, Hkv = call.num_kv_heads;
  const int64_t item = static_cast<int64_t>(blockIdx.x) * HeadTile::kWarps + warp;
  if (item >= HeadTile::items(call)) return;  // whole warps
  const int64_t r = item / (H + 2 * Hkv);
  const int head = static_cast<int>(item % (H + 2 * Hkv));  // queries, keys, values
  const bool is_query = head < H, is_value = head >= H + Hkv;
  const int source = is_value && !call.has_values ? head - Hkv : head;
  float* x = values[warp];
  float sum = 0;
  for (int c = lane; c < width; c += kWarp) {
    x[c] = call.rows.at(r, static_cast<int64_t>(source) * width + c);
    sum = sum + x[c] * x[c];
  }
  const float factor = 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(width) + call.eps);
  if (is_value) {
    for (int c = lane; c < width; c += kWarp) put_key(call.keys, call.keys.v, r, head - H - Hkv, c, x[c] * factor);
    return;
  }
  const float* gain = is_query ? call.q_gain : call.k_gain;
  for (int c = lane; c < width; c += kWarp) x[c] = x[c] * factor * gain[c];
  __syncwarp();
  for (int t = lane; t < half; t += kWarp) {
    const float a = x[t], b = x[half + t], cosine = call.cos[r * call.table_stride + t], sine = call.sin[r * call.table_stride + t];
    const float turned[2] = {a * cosine - b * sine, b * cosine + a * sine};
    for (int side = 0; side < 2; ++side) {
      if (is_query) call.q.put(r, static_cast<int64_t>(head) * width + side * half + t, turned[side]);
      else put_key(call.keys, call.keys.k, r, head - H, side * half + t, turned[side]);
    }
  }
}

}  // namespace canvaslab::cuda
