#pragma once
// Everything between two matrix products of a layer that looks at one row at a time: norms, residual sums, activations. Plain C as device_step.h: device pointers, nothing waits, nothing is
// allocated; every call returns the launch's cudaError_t, cudaErrorInvalidValue for sizes out of range. Sums are f32 in an order that the width alone decides: a row's result depends on
// no other row, and is the same bits every time.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

inline constexpr int32_t kMaxWidth = 24576;  ///< of a row of the residual: two rows in f32 fit the shared memory of sm_90; 163 KiB of sm_80 take 20000

/// What a row looks like to the product that comes next: x / sqrt(mean(x^2) + eps) [* gain] * factor.
struct NormedOut {
  RowsOut out = {};
  const float* gain = nullptr;  ///< [width] or null
  float factor = 1;
};

/// The routed experts' rows of every token, added up in the order of its slots.
struct ExpertSum {
  RowsIn parts = {};                     ///< [rows * slots, width], grouped by expert
  const int32_t* place = nullptr;   ///< [rows * slots] where a token's slot stands in `parts`
  const float* weight = nullptr;    ///< [rows * slots]
  int32_t slots = 0;
};

/// The end of an attention or feed-forward block and the beginning of the next, in the order of core/network/cpu_layer.cpp:
///   a = branch                                                      without experts
///   a = norm(branch) * branch_gain + norm(expert sum) * experts_gain  with them
///   x = (residual + norm(a) * gain) * scale                        where there is a branch; else x = residual
///   each of outs = norm(x) * its gain * its factor
struct RowGlueCall {
  int32_t num_rows = 0, width = 0;   ///< width <= kMaxWidth
  float eps = 1e-6f;
  RowsIn branch = {};                     ///< [rows, width]; null: only the outs are made
  ExpertSum experts = {};                 ///< parts null: none
  const float *branch_gain = nullptr, *experts_gain = nullptr, *gain = nullptr;  ///< [width]
  float scale = 1;
  RowsOut residual = {};                  ///< [rows, width] in and out; where it is bf16 the outs see the rounded x
  NormedOut outs[3] = {};
};
int row_glue(const RowGlueCall& call, void* stream) CANVASLAB_C_NAME(row_glue);

/// The canvas enters the network: x = norm(embedding[id] * scale + signal), no gain; then outs as above.
struct EmbedCall {
  int32_t num_rows = 0, width = 0;
  float eps = 1e-6f;
  const int32_t* ids = nullptr;      ///< [rows], within the table
  RowsIn table = {};                      ///< [V, width]
  float scale = 1;
  RowsIn signal = {};                     ///< [rows, width] self-conditioning, or null
  int32_t normed = 1;                ///< 0: prompts, whose embeddings are not normed
  RowsOut residual = {};
  NormedOut outs[3] = {};
};
int embed_rows(const EmbedCall& call, void* stream) CANVASLAB_C_NAME(embed_rows);

/// out [rows, width] = gelu(both[:, :width]) * both[:, width:], gelu by its tanh form; bit for bit RowOps::gelu_times where storage is f32.
struct GeluCall {
  int32_t num_rows = 0, width = 0;
  RowsIn both = {};   ///< [rows, 2 width]
  RowsOut out = {};   ///< [rows, width]
};
int gelu_times_rows(const GeluCall& call, void* stream) CANVASLAB_C_NAME(gelu_times_rows);

/// out = cap * tanh(x / cap), bit for bit RowOps::soft_cap in f32; out may be x.
struct SoftCapCall {
  int32_t num_rows = 0, width = 0;
  float cap = 30;
  RowsIn x = {};      ///< [rows, width]
  RowsOut out = {};
};
int soft_cap_rows(const SoftCapCall& call, void* stream) CANVASLAB_C_NAME(soft_cap_rows);

}  // namespace canvaslab::cuda
