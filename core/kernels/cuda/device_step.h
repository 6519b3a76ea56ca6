#pragma once
// The sampler's side of a denoise step on the GPU: row statistics, acceptance by the entropy bound, renoise, stop test. A C ABI: pointers, sizes and a stream, no torch
// headers. All pointers are device memory unless said otherwise. Nothing waits for the device and nothing is allocated, so calls can be captured in a graph.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/philox.h"

namespace canvaslab::cuda {

/// What one row (a position of some canvas) needs. Rows of different canvases, steps and temperatures share a call and do not affect each other.
struct StatisticsRow {
  DrawKey draws;               ///< of the canvas and step; position is added
  uint32_t position = 0;       ///< in its canvas
  int32_t current = 0;         ///< token that the canvas holds
  double inverse_temperature = 1;
  int32_t greedy = 0;          ///< 1: candidate = argmax, entropy 0, log-probabilities at temperature 1
};

/// As RowStatistics, [rows] each; null: not wanted.
struct StatisticsArrays {
  int32_t* argmax = nullptr;
  float* argmax_logprob = nullptr;
  int32_t* second = nullptr;
  float* second_logprob = nullptr;
  float* entropy_nats = nullptr;
  int32_t* candidate = nullptr;
  float* candidate_logprob = nullptr;
  float* current_logprob = nullptr;
  float* argmax_logprob_t1 = nullptr;
  float* entropy_t1_nats = nullptr;
};

struct StatisticsCall {
  const float* logits = nullptr;         ///< [rows, vocabulary] f32, row-major
  const StatisticsRow* rows = nullptr;   ///< [num_rows]
  int32_t num_rows = 0, vocabulary = 0;  ///< vocabulary <= kMaxVocabulary
  StatisticsArrays out;
  int32_t* bad_row = nullptr;            ///< [1], kNoBadRow before the call: afterwards the first row with NaN, +inf or only -inf, whose statistics are undefined
};
inline constexpr int32_t kMaxVocabulary = 1 << 20, kNoBadRow = INT32_MAX;

/// compute_row_statistics on the device, bit for bit but for what f64 exp and log of the two libraries differ in (1 ulp each). One read of the logits plus a rescan of one tile.
/// Deterministic, independent of the other rows. Returns the launch's cudaError_t; cudaErrorInvalidValue for sizes out of range.
int row_statistics(const StatisticsCall& call, void* stream) CANVASLAB_C_NAME(row_statistics);

/// One canvas in the acceptance step.
struct CanvasRow {
  DrawKey draws;                    ///< of the canvas and step
  int32_t first = 0, length = 0;    ///< its positions in the arrays of the call; length <= kMaxCanvas
  float bound = 0;                  ///< nats, >= 0
  float confidence = 0;             ///< stop rule stable_and_confident: mean entropy must be below
  int32_t stability = 1;            ///< earlier steps whose argmax must be equal
};
inline constexpr int32_t kMaxCanvas = 1024;

struct AcceptCall {
  const CanvasRow* canvases = nullptr;        ///< [num_canvases]
  int32_t num_canvases = 0, vocabulary = 0;
  const float* entropy_nats = nullptr;        ///< [positions]
  const int32_t* candidate = nullptr;         ///< [positions]
  const int32_t* argmax = nullptr;            ///< [positions]
  const uint8_t* allowed = nullptr;           ///< [positions], 0 = pinned; null: none is
  const int32_t* banned_ids = nullptr;        ///< [num_banned] never drawn as noise
  int32_t num_banned = 0;
  int32_t mask_id = -1;                       ///< absorbing models: the noise; else -1
  int32_t* canvas = nullptr;                  ///< [positions], this step's in, the next one's out
  uint8_t* accepted = nullptr;                ///< [positions] out
  int32_t* last_argmax = nullptr;             ///< [positions], this step's argmax out
  int32_t* equal_steps = nullptr;             ///< [num_canvases] how many steps in a row had the argmax of the step before, in and out; -1 before the first step
  int32_t* stop = nullptr;                    ///< [num_canvases] out: 1 where the stop rule holds
};

/// Sampler entropy_bound, the renoising of what it leaves and stop rule stable_and_confident, given the statistics: bit for bit those of the CPU. One block a canvas.
/// Returns as row_statistics.
int entropy_bound_step(const AcceptCall& call, void* stream) CANVASLAB_C_NAME(entropy_bound_step);

}  // namespace canvaslab::cuda
