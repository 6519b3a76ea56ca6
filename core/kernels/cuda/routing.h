#pragma once
// Experts of every token, and routed rows grouped by expert. Conventions: row_glue.h. Letters: E experts, k slots of a token, R = rows * k routed rows.
#include <cstdint>

#include "core/kernels/host_device.h"

namespace canvaslab::cuda {

inline constexpr int32_t kMaxExperts = 512;

/// Softmax over the experts, the k largest (ties to the lower index), weights over their sum times the experts' own scale.
struct RouteCall {
  int32_t num_rows = 0, num_experts = 0, slots = 0;  ///< slots <= num_experts <= kMaxExperts
  const float* logits = nullptr;                     ///< [rows, E], or in pieces as RowsIn
  int32_t pieces = 1;
  int64_t piece_stride = 0;
  const float* per_expert_scale = nullptr;           ///< [E]
  int32_t* expert = nullptr;                         ///< [R] out, slots in falling probability
  float* weight = nullptr;                           ///< [R] out
};
int route(const RouteCall& call, void* stream) CANVASLAB_C_NAME(route);

/// A counting sort that keeps the order of rows within an expert; integers only, so the same on every run. Read fastest where `expert` is 16-byte aligned.
struct GroupCall {
  int32_t num_routed = 0, num_experts = 0;  ///< R, E
  const int32_t* expert = nullptr;          ///< [R], in [0, E): nobody looks, and the places of others are not written
  int32_t* begin = nullptr;                 ///< [E + 1] out: grouped rows of expert e are [begin[e], begin[e + 1])
  int32_t* place = nullptr;                 ///< [R] out: where a routed row stands among the grouped
  int32_t* source = nullptr;                ///< [R] out: which routed row stands there
};
int group_by_expert(const GroupCall& call, void* stream) CANVASLAB_C_NAME(group_by_expert);

}  // namespace canvaslab::cuda
