#pragma once
// Row glue, the kernels. One block holds one row, its values in shared memory in f32 (two rows: branch and residual; 22 KiB at a width of 2816, so that eight blocks fit a
// multiprocessor and all 256 rows of a canvas run at once). Thread t has columns t, t + 256, ...: loads are 128 or 64 bytes of a warp in a row.
#include <cmath>

#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/row_arithmetic.h"

namespace canvaslab::cuda {

struct GlueTile {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp;
  /// Bytes of dynamic shared memory.
  static constexpr size_t bytes(int width) { return 2 * static_cast<size_t>(width) * sizeof(float); }
};

/// Sums over `terms` of term(i, column) in rising order into shared memory, each thread its own columns: of every term kAhead columns are on their way before the first is added, as it is the waiting that
/// takes time.
template <typename Term>
__device__ inline void sum_row(int terms, int width, float* to, Term term) {
  constexpr int kAhead = 12;  // all of a row of 2816
  for (int first = static_cast<int>(threadIdx.x); first < width; first += kAhead * GlueTile::kThreads) {
    float sums[kAhead] = {};
    CANVASLAB_ROLLED
    for (int i = 0; i < terms; ++i) {
      CANVASLAB_UNROLL
      for (int ahead = 0; ahead < kAhead; ++ahead) {
        const int c = first + ahead * GlueTile::kThreads;
        const float number = c < width ? term(i, c) : 0.0f;
        sums[ahead] = i == 0 ? number : sums[ahead] + number;
      }
    }
    CANVASLAB_UNROLL
    for (int ahead = 0; ahead < kAhead; ++ahead)
      if (const int c = first + ahead * GlueTile::kThreads; c < width) to[c] = sums[ahead];
  }
}
__device__ inline void load_row(const RowsIn& rows, int64_t r, int width, float* to) {
  sum_row(rows.pieces, width, to, [&](int piece, int c) { return rows.of_piece(piece, r, c); });
}
__device__ inline void load_expert_sum(const ExpertSum& experts, int64_t r, int width, float* to) {
  sum_row(experts.slots, width, to, [&](int slot, int c) { return experts.parts.at(experts.place[r * experts.slots + slot], c) * experts.weight[r * experts.slots + slot]; });
}

/// 1 / sqrt(mean(x^2) + eps) of a row in shared memory that every thread has written its own columns of.
__device__ inline float inverse_rms(const float* row, int width, float eps, float* scratch) {
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x); c < width; c += GlueTile::kThreads) sum = sum + row[c] * row[c];
  return 1.0f / sqrtf(block_sum<GlueTile::kWarps>(sum, scratch) / static_cast<float>(width) + eps);
}

/// Writes the norms of x, which is in shared memory.
__device__ inline void write_normed(const NormedOut (&outs)[3], int64_t r, const float* x, int width, float eps, float* scratch) {
  if (!outs[0].out.data && !outs[1].out.data && !outs[2].out.data) return;
  const float factor = inverse_rms(x, width, eps, scratch);
  CANVASLAB_UNROLL
  for (const NormedOut& to : outs) {
    if (!to.out.data) continue;
    for (int c = static_cast<int>(threadIdx.x); c < width; c += GlueTile::kThreads) {
      const float normed = x[c] * factor;
      to.out.put(r, c, (to.gain ? normed * to.gain[c] : normed) * to.factor);
    }
  }
}

/// Writes x where the residual stands and leaves in shared memory what was written.
__device__ inline void write_residual(const RowsOut& residual, int64_t r, int c, float value, float* x) {
  residual.put(r, c, value);
  x[c] = residual.storage == Storage::kF32 ? value : from_bf16(nearest_bf16(value));
}

__global__ void __launch_bounds__(GlueTile::kThreads) row_glue_kernel(RowGlueCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ float scratch[GlueTile::kWarps];
  const int width = call.width, first = static_cast<int>(threadIdx.x);
  const int64_t r = blockIdx.x;
  auto *branch = reinterpret_cast<float*>(memory), *x = branch + width;
  if (!call.branch.data) {
    for (int c = first; c < width; c += GlueTile::kThreads) x[c] = call.residual.in().at(r, c);
  } else {
    load_row(call.branch, r, width, branch);
    if (call.experts.parts.data) {
      load_expert_sum(call.experts, r, width, x);
      const float of_branch = inverse_rms(branch, width, call.eps, scratch), of_experts = inverse_rms(x, width, call.eps, scratch);
      for (int c = first; c < width; c += GlueTile::kThreads) branch[c] = branch[c] * of_branch * call.branch_gain[c] + x[c] * of_experts * call.experts_gain[c];
    }
    const float factor = inverse_rms(branch, width, call.eps, scratch);
    for (int c = first; c < width; c += GlueTile::kThreads) write_residual(call.residual, r, c, (call.residual.in().at(r, c) + branch[c] * factor * call.gain[c]) * call.scale, x);
  }
  write_normed(call.outs, r, x, width, call.eps, scratch);
}

__global__ void __launch_bounds__(GlueTile::kThreads) embed_rows_kernel(EmbedCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ float scratch[GlueTile::kWarps];
  const int width = call.width, first = static_cast<int>(threadIdx.x);
  const int64_t r = blockIdx.x, id = call.ids[r];
  auto* x = reinterpret_cast<float*>(memory);
  if (call.signal.data) load_row(call.signal, r, width, x);
  for (int c = first; c < width; c += GlueTile::kThreads) {
    const float embedded = call.table.at(id, c) * call.scale;
    x[c] = call.signal.data ? embedded + x[c] : embedded;
  }
  const float factor = call.normed ? inverse_rms(x, width, call.eps, scratch) : 1.0f;
  for (int c = first; c < width; c += GlueTile::kThreads) write_residual(call.residual, r, c, x[c] * factor, x);
  write_normed(call.outs, r, x, width, call.eps, scratch);
}

__global__ void __launch_bounds__(GlueTile::kThreads) gelu_times_kernel(GeluCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const int64_t r = blockIdx.x;
  for (int c = static_cast<int>(threadIdx.x); c < call.width; c += GlueTile::kThreads) call.out.put(r, c, row_gelu_times(call.both.at(r, c), call.both.at(r, call.width + c)));
}

__global__ void __launch_bounds__(GlueTile::kThreads) soft_cap_kernel(SoftCapCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const int64_t r = blockIdx.x;
  const float inverse = 1.0f / call.cap;
  for (int c = static_cast<int>(threadIdx.x); c < call.width; c += GlueTile::kThreads) call.out.put(r, c, row_soft_cap(call.x.at(r, c), call.cap, inverse));
}

}  // namespace canvaslab::cuda
