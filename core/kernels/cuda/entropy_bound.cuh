#pragma once
// Acceptance by the entropy bound, renoise and stop test, the kernel. One block holds one canvas:
//
//   every thread makes its positions' sort keys: entropy as an integer of the same order, position below it
//   bitonic sort in shared memory (8 KiB at most), so equal entropies stand in rising position
//   one thread adds entropies in that order, in f64 rounded to f32 as samplers/entropy_bound.cpp, and finds how many stay under the bound (256 additions: a microsecond)
//   every thread writes its positions: the candidate where accepted, noise elsewhere, and compares the argmax with the step before
#include <bit>

#include "core/kernels/cuda/device_step.h"
#include "core/kernels/cuda/dialect.cuh"
#include "core/kernels/cuda/overlap.cuh"

namespace canvaslab::cuda {

struct AcceptTile {
  static constexpr int kThreads = 256;
  static constexpr uint64_t kLast = ~uint64_t{0};  // of positions that take no part
};

/// (entropy, position) as a number of the same order; entropies are >= 0, -0 counts as 0.
__device__ inline uint64_t sort_key(float entropy, int position) {
  return static_cast<uint64_t>(std::bit_cast<uint32_t>(entropy + 0.0f)) << 32 | static_cast<uint32_t>(position);
}

/// The entropy of a key.
__device__ inline float key_entropy(uint64_t key) { return std::bit_cast<float>(static_cast<uint32_t>(key >> 32)); }

/// Sorts keys[0, size), size a power of two, by the whole block.
__device__ inline void bitonic_sort(uint64_t* keys, int size) {
  for (int run = 2; run <= size; run *= 2)
    for (int gap = run / 2; gap > 0; gap /= 2) {
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < size; i += AcceptTile::kThreads) {
        const int other = i ^ gap;
        if (other <= i) continue;
        const bool rising = (i & run) == 0;
        const uint64_t a = keys[i], b = keys[other];
        if ((a > b) == rising) keys[i] = b, keys[other] = a;
      }
    }
  __syncthreads();
}

/// How many of the first `count` keys are accepted.
__device__ inline int num_under_bound(const uint64_t* keys, int count, float bound) {
  double sum = 0;
  for (int k = 0; k < count; ++k) {
    const float entropy = key_entropy(keys[k]);
    sum += static_cast<double>(entropy);
    if (static_cast<float>(sum) - entropy > bound) return k;
  }
  return count;
}

/// Noise at a position: the engine's, a uniform token that is not banned.
__device__ inline int noise_token(const AcceptCall& call, const DrawKey& draws, int position) {
  if (call.mask_id >= 0) return call.mask_id;
  for (uint32_t lane = 0;; ++lane) {
    const auto token = static_cast<int32_t>(draws.below(static_cast<uint32_t>(call.vocabulary), Purpose::kNoise, static_cast<uint32_t>(position), lane));
    bool banned = false;
    for (int i = 0; i < call.num_banned; ++i) banned = banned || call.banned_ids[i] == token;
    if (!banned) return token;
  }
}

/// What the block shares beside the keys.
struct AcceptState {
  int32_t open, accepted, changed;
  float mean_entropy;
};

/// Entropies of the positions that are not pinned, in the order of positions as samplers/stop_rule.cpp adds them.
__device__ inline float mean_entropy(const AcceptCall& call, const CanvasRow& row) {
  double sum = 0;
  int count = 0;
  for (int p = row.first; p < row.first + row.length; ++p) {
    if (call.allowed && !call.allowed[p]) continue;
    sum += static_cast<double>(call.entropy_nats[p]);
    ++count;
  }
  return count == 0 ? 0.0f : static_cast<float>(sum / count);
}

__global__ void __launch_bounds__(AcceptTile::kThreads, 1) entropy_bound_kernel(AcceptCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ AcceptState state;
  __shared__ uint8_t takes[kMaxCanvas];
  auto* keys = reinterpret_cast<uint64_t*>(memory);
  const CanvasRow row = call.canvases[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x);
  int size = 1;
  while (size < row.length) size *= 2;
  if (thread == 0) state.open = state.changed = 0;
  for (int p = thread; p < size; p += AcceptTile::kThreads) {
    const bool open = p < row.length && (!call.allowed || call.allowed[row.first + p]);
    keys[p] = open ? sort_key(call.entropy_nats[row.first + p], p) : AcceptTile::kLast;
    if (p < row.length) takes[p] = 0;
  }
  bitonic_sort(keys, size);
  if (thread == 0) {
    int open = 0;
    while (open < row.length && keys[open] != AcceptTile::kLast) ++open;
    state.open = open;
    state.accepted = num_under_bound(keys, open, row.bound);
  }
  if (thread == kWarp) state.mean_entropy = mean_entropy(call, row);
  __syncthreads();
  for (int k = thread; k < state.accepted; k += AcceptTile::kThreads) takes[static_cast<uint32_t>(keys[k])] = 1;
  __syncthreads();
  for (int p = thread; p < row.length; p += AcceptTile::kThreads) {
    const int at = row.first + p;
    const bool open = !call.allowed || call.allowed[at];
    if (open) call.canvas[at] = takes[p] ? call.candidate[at] : noise_token(call, row.draws, p);
    call.accepted[at] = takes[p];
    if (open && call.argmax[at] != call.last_argmax[at]) state.changed = 1;  // all write the same
    call.last_argmax[at] = call.argmax[at];
  }
  __syncthreads();
  if (thread == 0) {
    int32_t& equal = call.equal_steps[blockIdx.x];
    equal = equal < 0 || state.changed ? 0 : equal + 1;
    call.stop[blockIdx.x] = state.mean_entropy < row.confidence && equal >= row.stability;
  }
}

}  // namespace canvaslab::cuda
