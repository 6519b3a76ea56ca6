#pragma once
// Structs that calls read from device memory, made there from whole arrays: nothing is copied from the host, so that who calls the kernels on tensors waits for nothing and can capture the call in a
// graph. Conventions: row_glue.h; the same lines fill host memory where the processor carries a call out. Letters: B sequences or canvases, L positions of each.
#include <cstdint>

#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/device_step.h"

namespace canvaslab::cuda {

/// Keys and values of every sequence of a batch, strides in elements.
struct KeyArrays {
  const uint16_t *k = nullptr, *v = nullptr;
  int64_t sequence_stride = 0, row_stride = 0, head_stride = 0;
  int32_t count = 0;                       ///< rows of each

  CANVASLAB_HOST_DEVICE KeySpan of(int32_t b, int32_t rows) const { return {k + b * sequence_stride, v + b * sequence_stride, row_stride, head_stride, rows}; }
};

/// A batch of sequences with as many queries each.
struct SequencesCall {
  int32_t num_sequences = 0, rows = 0;
  KeyArrays cached = {}, fresh = {};
  const int32_t* cached_counts = nullptr;  ///< [B], <= cached.count, or null: all of them
  AttentionSequence* out = nullptr;        ///< [B]

  CANVASLAB_HOST_DEVICE int32_t size() const { return num_sequences; }
  CANVASLAB_HOST_DEVICE void make(int32_t b) const { out[b] = {.first_row = b * rows, .num_rows = rows, .cached = cached.of(b, cached_counts ? cached_counts[b] : cached.count), .fresh = fresh.of(b, fresh.count)}; }
};

/// Numbers that name a canvas's draws: seed, item, repeat, canvas index, step index, first position (DrawKey).
inline constexpr int32_t kDrawNumbers = 6;
CANVASLAB_HOST_DEVICE DrawKey draw_key(const int64_t* numbers) {
  return {.seed = static_cast<uint64_t>(numbers[0]), .item = static_cast<uint64_t>(numbers[1]), .repeat = static_cast<uint32_t>(numbers[2]), .canvas_idx = static_cast<uint32_t>(numbers[3]),
          .step_idx = static_cast<uint32_t>(numbers[4]), .first_position = static_cast<uint32_t>(numbers[5])};
}

/// Requests of every position of a batch of canvases.
struct StatisticsRowsCall {
  int32_t num_canvases = 0, length = 0;
  const int64_t* draws = nullptr;          ///< [B, kDrawNumbers]
  const float* temperature = nullptr;      ///< [B], >= 0; 0: greedy
  const int32_t* current = nullptr;        ///< [B, L]
  StatisticsRow* out = nullptr;            ///< [B, L]

  CANVASLAB_HOST_DEVICE int32_t size() const { return num_canvases * length; }
  CANVASLAB_HOST_DEVICE void make(int32_t i) const {
    const float t = temperature[i / length];
    out[i] = {.draws = draw_key(draws + i / length * kDrawNumbers), .position = static_cast<uint32_t>(i % length), .current = current[i], .inverse_temperature = t > 0 ? 1 / static_cast<double>(t) : 1.0, .greedy = t == 0};
  }
};

/// The canvases of an acceptance step, one behind the other.
struct CanvasRowsCall {
  int32_t num_canvases = 0, length = 0;
  const int64_t* draws = nullptr;          ///< [B, kDrawNumbers]
  const float* bound = nullptr;            ///< [B] nats
  float confidence = 0;
  int32_t stability = 1;
  CanvasRow* out = nullptr;                ///< [B]

  CANVASLAB_HOST_DEVICE int32_t size() const { return num_canvases; }
  CANVASLAB_HOST_DEVICE void make(int32_t b) const { out[b] = {.draws = draw_key(draws + b * kDrawNumbers), .first = b * length, .length = length, .bound = bound[b], .confidence = confidence, .stability = stability}; }
};

int make_rows(const SequencesCall& call, void* stream);
int make_rows(const StatisticsRowsCall& call, void* stream);
int make_rows(const CanvasRowsCall& call, void* stream);

/// The device whose streams the next calls of this thread are for: whoever brings a stream has a runtime of his own.
int use_device(int32_t index);
const char* error_text(int error);

}  // namespace canvaslab::cuda
