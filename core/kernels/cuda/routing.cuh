#pragma once
// Routing, the kernels.
//   route: one warp a row, its probabilities in shared memory; the k largest one after another, each a maximum over the warp.
//   group: one warp an expert. It looks at all routed rows twice, 32 at a time: counts those of lower experts, which gives its beginning, then places its own in their order. No warp waits for another,
//          nothing is added up across blocks; 2048 routed rows of a canvas are 64 loads of a warp, which all warps share in the second-level cache.
#include <cmath>

#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/row_arithmetic.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

struct RouteTile {
  static constexpr int kThreads = 128, kWarps = kThreads / kWarp;
  static constexpr size_t bytes(int num_experts) { return kWarps * static_cast<size_t>(num_experts) * sizeof(float); }
};

__global__ void __launch_bounds__(RouteTile::kThreads) route_kernel(RouteCall call) {
  CANVASLAB_DYNAMIC_SHARED(memory);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp, E = call.num_experts;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * RouteTile::kWarps + warp;
  if (r >= call.num_rows) return;  // whole warps
  float* p = reinterpret_cast<float*>(memory) + static_cast<int64_t>(warp) * E;
  const RowsIn logits{call.logits, E, Storage::kF32, call.pieces, call.piece_stride};
  float top = -INFINITY;
  for (int e = lane; e < E; e += kWarp) {
    float pieces[kMaxPieces];  // all on their way before the first is added
    CANVASLAB_UNROLL
    for (int i = 0; i < kMaxPieces; ++i) pieces[i] = i < call.pieces ? logits.of_piece(i, r, e) : 0.0f;
    float sum = pieces[0];
    CANVASLAB_UNROLL
    for (int i = 1; i < kMaxPieces; ++i) sum = i < call.pieces ? sum + pieces[i] : sum;
    p[e] = sum;
    top = sum > top ? sum : top;
  }
  top = warp_max(top);
  float all = 0;
  for (int e = lane; e < E; e += kWarp) {
    p[e] = row_exponential(p[e] - top);
    all = all + p[e];
  }
  const float inverse = 1.0f / warp_sum(all);
  for (int e = lane; e < E; e += kWarp) p[e] = p[e] * inverse;
  __syncwarp();
  float sum = 0;
  for (int slot = 0; slot < call.slots; ++slot) {
    const int found = warp_best(lane, E, [&](int e) { return p[e]; });
    const int best = found < 0 ? slot : found;  // rows of NaN: some expert, and weights that are NaN
    const float value = p[best];
    __syncwarp();
    if (lane == 0) {
      call.expert[r * call.slots + slot] = best;
      call.weight[r * call.slots + slot] = value;
      p[best] = -1;  // below every probability
    }
    __syncwarp();
    sum = sum + value;
  }
  if (lane != 0) return;
  for (int slot = 0; slot < call.slots; ++slot) {
    const int64_t i = r * call.slots + slot;
    call.weight[i] = call.weight[i] / sum * call.per_expert_scale[call.expert[i]];
  }
}

__global__ void __launch_bounds__(RouteTile::kThreads) group_kernel(GroupCall call) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own = static_cast<int>(blockIdx.x) * RouteTile::kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (own >= call.num_experts) return;  // whole warps
  int at = 0;
  for (int first = 0; first < call.num_routed; first += kWarp) at += __popc(__ballot_sync(kWholeWarp, first + lane < call.num_routed && call.expert[first + lane] < own));
  if (lane == 0) {
    call.begin[own] = at;
    if (own == call.num_experts - 1) call.begin[call.num_experts] = call.num_routed;
  }
  for (int first = 0; first < call.num_routed; first += kWarp) {
    const bool mine = first + lane < call.num_routed && call.expert[first + lane] == own;
    const unsigned all = __ballot_sync(kWholeWarp, mine);
    if (mine) {
      const int place = at + __popc(all & ((1u << lane) - 1));
      call.place[first + lane] = place;
      call.source[place] = first + lane;
    }
    at += __popc(all);
  }
}

}  // namespace canvaslab::cuda
