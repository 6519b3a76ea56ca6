#pragma once
// Canvases denoised to their end on the GPU: forward, statistics, acceptance by the entropy bound, renoising and stop test, step after step without the host. Everything that differs from step to step lies in
// device memory, so that one sequence of launches serves all of them and can stand in a graph. Conventions: device_step.h.
#include <cstdint>

#include "core/kernels/cuda/denoiser_forward.h"
#include "core/kernels/cuda/device_step.h"
#include "core/kernels/host_device.h"

namespace canvaslab::cuda {

/// One canvas of a loop.
struct LoopCanvas {
  DrawKey draws;                     ///< of its first step; later ones count on from this step_idx
  int32_t first = 0, length = 0;     ///< of CanvasRow
  int32_t num_steps = 1;             ///< the most it takes, at least 1
  float confidence = 0;              ///< of CanvasRow
  int32_t stability = 1;             ///< of CanvasRow
};

/// What a canvas's step has of its own.
struct LoopStep {
  double inverse_temperature = 1;           ///< of StatisticsRow
  float feedback_inverse_temperature = 1;   ///< of this step's prediction, when the next step is given it
  float bound = 0;                          ///< of CanvasRow
  int32_t greedy = 0;                       ///< of StatisticsRow
};

/// Columns of the record, four bytes each: the canvas that a step was given, then the statistics in the order of StatisticsArrays.
inline constexpr int32_t kLoopColumns = 11;

/// The canvases' own arrays are those of `accept`, row by row; `statistics.rows` and `accept.canvases` are written by the loop.
struct LoopCall {
  const LoopCanvas* canvases = nullptr;          ///< [num_canvases]
  int32_t num_canvases = 0, num_rows = 0, most_steps = 0;
  const LoopStep* steps = nullptr;               ///< [num_canvases, most_steps]
  int32_t* step = nullptr;                       ///< [num_canvases] steps done: 0 before the call
  int32_t* finished = nullptr;                   ///< [num_canvases] 0 before the call; 1 behind a canvas's last step
  int32_t* running = nullptr;                    ///< [1] canvases that go on, after every step
  float* feedback_inverse_temperature = nullptr; ///< [num_canvases] of the last prediction: what the forward reads
  StatisticsRow* statistics_rows = nullptr;      ///< [num_rows]
  CanvasRow* accept_canvases = nullptr;          ///< [num_canvases]
  StatisticsCall statistics = {};                ///< of all rows; a bad row ends the loop for all of them
  AcceptCall accept = {};
  const int32_t* columns = nullptr;              ///< [kLoopColumns - 1, num_rows] where the statistics' arrays stand, in their order
  uint32_t wanted = 0;                           ///< bit i: column i is one of them
  int32_t* record = nullptr;                     ///< [most_steps, kLoopColumns, num_rows] out; columns that nobody wants and steps that a canvas does not take stay as they are
};

/// Before a step's forward: what statistics and acceptance are asked, and the canvas into the record.
int begin_step(const LoopCall& call, void* stream) CANVASLAB_C_NAME(begin_step);
/// After the acceptance: statistics into the record; who goes on. A canvas that ended is never touched again by these two, and nobody reads its rows.
int end_step(const LoopCall& call, void* stream) CANVASLAB_C_NAME(end_step);

/// One step of all canvases as a sequence of launches. `forward` reads its ids from accept.canvas and writes statistics.logits.
inline int loop_step(const LoopCall& loop, const ForwardCall& forward, const ForwardWorkspace& work, void* stream) {
  if (const int e = begin_step(loop, stream)) return e;
  if (const int e = denoiser_forward(forward, work, stream)) return e;
  if (const int e = row_statistics(loop.statistics, stream)) return e;
  if (const int e = entropy_bound_step(loop.accept, stream)) return e;
  return end_step(loop, stream);
}

/// Where a loop's arrays stand in one piece of memory: what the host sends, what comes back (it begins with the last that was sent), what the device keeps to itself.
struct LoopMemory {
  int64_t bytes = 0;
  LoopCanvas* canvases;
  LoopStep* steps;
  int32_t *canvas, *banned, *finished, *equal_steps;
  uint8_t* allowed;
  int64_t back_at;
  int32_t *step, *bad_row;
  int64_t sent_bytes;
  int32_t* record;
  int64_t back_end;
  StatisticsRow* statistics_rows;
  CanvasRow* accept_canvases;
  uint8_t* accepted;
  int32_t *columns, *last_argmax, *stop, *running;  // columns: [kLoopColumns - 1, num_rows]
  float* feedback_inverse_temperature;

  /// `memory` null: only sizes count.
  LoopMemory(void* memory, int64_t num_canvases, int64_t num_rows, int64_t most_steps, int64_t num_banned) {
    const auto take = [&](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(static_cast<char*>(memory) + bytes);
      bytes += (count * static_cast<int64_t>(sizeof(*pointer)) + 255) / 256 * 256;
    };
    take(canvases, num_canvases);
    take(steps, num_canvases * most_steps);
    take(canvas, num_rows);
    take(banned, num_banned);
    for (auto* to : {&finished, &equal_steps}) take(*to, num_canvases);
    take(allowed, num_rows);
    back_at = bytes;
    take(step, num_canvases);
    take(bad_row, 1);
    sent_bytes = bytes;
    take(record, most_steps * kLoopColumns * num_rows);
    back_end = bytes;
    take(statistics_rows, num_rows);
    take(accept_canvases, num_canvases);
    take(accepted, num_rows);
    take(columns, (kLoopColumns - 1) * num_rows);
    take(last_argmax, num_rows);
    take(stop, num_canvases);
    take(running, 1);
    take(feedback_inverse_temperature, num_canvases);
  }
};

}  // namespace canvaslab::cuda
