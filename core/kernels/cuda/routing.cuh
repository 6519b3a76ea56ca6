#pragma once
// Routing, the kernels.
//   route: one warp a row, its probabilities in shared memory; the k largest one after another, each a maximum over the warp.
//   group: one block an expert. Its threads take the routed rows in runs, one behind the other, and count those of lower experts, which gives where the expert begins, and its own, which gives where a thread
//          places its. Nothing is added up across blocks. Up to 8192 routed rows, a prompt's piece, are read once, all of a thread's on their way before the first is looked at: it is the waiting that takes time.
//          Of more, chunks are counted, then read and placed again.
#include <cmath>

#include "core/kernels/cuda/block_scan.cuh"
#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/row_arithmetic.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

struct RouteTile {
  static constexpr int kThreads = 128, kWarps = kThreads / kWarp;
  static constexpr size_t bytes(int num_experts) { return kWarps * static_cast<size_t>(num_experts) * sizeof(float); }
  static constexpr unsigned blocks(int num_rows) { return static_cast<unsigned>((num_rows + kWarps - 1) / kWarps); }
};

__global__ void __launch_bounds__(RouteTile::kThreads) route_kernel(RouteCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
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

struct GroupTile {
  static constexpr int kThreads = 256, kMostIds = 32;  // ids of a thread at once
  /// Ids of a thread, a multiple of 4.
  static constexpr int ids_each(int num_routed) {
    const int even = ((num_routed + kThreads - 1) / kThreads + 3) / 4 * 4;
    return even < 4 ? 4 : even < kMostIds ? even : kMostIds;
  }
};

/// As they are loaded in one go.
struct alignas(16) FourIds {
  int32_t id[4];
};

/// The ids [first, first + each) of the call; above every expert where there are none.
__device__ inline void load_ids(const GroupCall& call, int first, int each, int32_t (&ids)[GroupTile::kMostIds]) {
  const int32_t* from = call.expert + first;
  const int present = min(each, call.num_routed - first);
  const bool in_fours = present == each && reinterpret_cast<uintptr_t>(call.expert) % sizeof(FourIds) == 0;
  CANVASLAB_UNROLL
  for (int i = 0; i < GroupTile::kMostIds; i += 4) {
    FourIds four = {{kMaxExperts, kMaxExperts, kMaxExperts, kMaxExperts}};
    if (in_fours) {
      if (i < each) four = load_16<FourIds>(from + i);
    } else {
      CANVASLAB_UNROLL
      for (int j = 0; j < 4; ++j)
        if (i + j < present) four.id[j] = from[i + j];
    }
    CANVASLAB_UNROLL
    for (int j = 0; j < 4; ++j) ids[i + j] = four.id[j];
  }
}

/// Of a thread's ids those of lower experts and those of its block's.
struct GroupCounts {
  int32_t below = 0, equal = 0;
};
__device__ inline GroupCounts count_ids(const int32_t (&ids)[GroupTile::kMostIds], int own) {
  GroupCounts counts;
  CANVASLAB_UNROLL
  for (const int32_t id : ids) {
    counts.below += id < own;
    counts.equal += id == own;
  }
  return counts;
}

__global__ void __launch_bounds__(GroupTile::kThreads) group_kernel(GroupCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  __shared__ BlockScanScratch<GroupTile::kThreads, int64_t> scratch;
  const int own = static_cast<int>(blockIdx.x), each = GroupTile::ids_each(call.num_routed), chunk = each * GroupTile::kThreads, first = static_cast<int>(threadIdx.x) * each;
  int32_t ids[GroupTile::kMostIds];
  GroupCounts counts;
  int from = call.num_routed > 0 ? (call.num_routed - 1) / chunk * chunk : 0;
  for (int below = 0;; from -= chunk) {  // the first chunk last: its ids are then here to be placed
    load_ids(call, from + first, each, ids);
    counts = count_ids(ids, own);
    below += counts.below;
    if (from == 0) {
      counts.below = below;
      break;
    }
  }
  int64_t all;
  int64_t before = block_sum_before<GroupTile::kThreads>(int64_t{counts.below} << 32 | counts.equal, all, scratch);
  auto at = static_cast<int32_t>(all >> 32);
  if (threadIdx.x == 0) {
    call.begin[own] = at;
    if (own == call.num_experts - 1) call.begin[call.num_experts] = call.num_routed;
  }
  while (true) {
    int place = at + static_cast<int32_t>(before);
    CANVASLAB_UNROLL
    for (int i = 0; i < GroupTile::kMostIds; ++i) {
      if (ids[i] != own) continue;
      call.place[from + first + i] = place;
      call.source[place++] = from + first + i;
    }
    from += chunk;
    if (from >= call.num_routed) break;
    at += static_cast<int32_t>(all);
    load_ids(call, from + first, each, ids);
    __syncthreads();  // all are through with the scan before
    before = block_sum_before<GroupTile::kThreads>(int64_t{count_ids(ids, own).equal}, all, scratch);
  }
}

}  // namespace canvaslab::cuda
