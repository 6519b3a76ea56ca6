#pragma once
// What stands around a step's forward, statistics and acceptance in a loop on the device, the kernels: a block a canvas. They copy some kilobytes; what counts is that nobody waits for the host.
#include "core/kernels/cuda/denoise_loop.h"
#include "core/kernels/cuda/dialect.cuh"
#include "core/kernels/cuda/overlap.cuh"

namespace canvaslab::cuda {

struct LoopTile {
  static constexpr int kThreads = 256;
};

__global__ void __launch_bounds__(LoopTile::kThreads) begin_step_kernel(LoopCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const auto c = static_cast<int64_t>(blockIdx.x);
  if (blockIdx.x == 0 && threadIdx.x == 0) *call.running = 0;
  if (call.finished[c]) return;
  const LoopCanvas canvas = call.canvases[c];
  const int step = call.step[c];
  const LoopStep at = call.steps[c * call.most_steps + step];
  DrawKey draws = canvas.draws;
  draws.step_idx += static_cast<uint32_t>(step);
  if (threadIdx.x == 0) call.accept_canvases[c] = {draws, canvas.first, canvas.length, at.bound, canvas.confidence, canvas.stability};
  int32_t* given = call.record + static_cast<int64_t>(step) * kLoopColumns * call.num_rows;
  for (int p = static_cast<int>(threadIdx.x); p < canvas.length; p += LoopTile::kThreads) {
    const int row = canvas.first + p;
    const int32_t token = call.accept.canvas[row];
    call.statistics_rows[row] = {draws, static_cast<uint32_t>(p), token, at.inverse_temperature, at.greedy};
    given[row] = token;
  }
}

__global__ void __launch_bounds__(LoopTile::kThreads) end_step_kernel(LoopCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const auto c = static_cast<int64_t>(blockIdx.x);
  if (call.finished[c]) return;
  const LoopCanvas canvas = call.canvases[c];
  const int step = call.step[c];
  for (int i = 0; i < kLoopColumns - 1; ++i) {
    if ((call.wanted >> i & 1) == 0) continue;
    const int64_t to = (static_cast<int64_t>(step) * kLoopColumns + 1 + i) * call.num_rows, from = static_cast<int64_t>(i) * call.num_rows;
    for (int row = canvas.first + static_cast<int>(threadIdx.x); row < canvas.first + canvas.length; row += LoopTile::kThreads) call.record[to + row] = call.columns[from + row];
  }
  __syncthreads();  // all have read `step` and `finished`
  if (threadIdx.x != 0) return;
  const bool ends = call.accept.stop[c] != 0 || step + 1 == canvas.num_steps || *call.statistics.bad_row != kNoBadRow;
  call.feedback_inverse_temperature[c] = call.steps[c * call.most_steps + step].feedback_inverse_temperature;
  call.step[c] = step + 1;
  call.finished[c] = ends;
  if (!ends) atomicAdd(call.running, 1);
}

}  // namespace canvaslab::cuda
