#pragma once
// Sums, maxima, places of maxima and prefix sums over the threads of a warp or block, in an order that the block's size alone decides.
#include "core/kernels/cuda/dialect.cuh"

namespace canvaslab::cuda {

/// The sum of the lanes' values, the same bits in all lanes: a + b is b + a, so both sides of every exchange round alike.
template <typename T>
__device__ inline T warp_sum(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = value + __shfl_xor_sync(kWholeWarp, value, step);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

/// Over the kWarps warps of the block: warps in rising order. `scratch` [kWarps] is shared memory of this sum alone until it returns.
template <int kWarps, typename T>
__device__ inline T block_sum(T value, T* scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_sum(value);
  if (static_cast<int>(threadIdx.x) % kWarp == 0) scratch[warp] = value;
  __syncthreads();
  T total = 0;
  for (int w = 0; w < kWarps; ++w) total = total + scratch[w];
  __syncthreads();
  return total;
}

template <int kWarps>
__device__ inline float block_max(float value, float* scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_max(value);
  if (static_cast<int>(threadIdx.x) % kWarp == 0) scratch[warp] = value;
  __syncthreads();
  float top = scratch[0];
  for (int w = 1; w < kWarps; ++w) top = scratch[w] > top ? scratch[w] : top;
  __syncthreads();
  return top;
}

/// First index in rising order whose value is the largest, by one warp; the same in all lanes. `value(i)` is -inf where i takes no part. -1 when all are.
template <typename Value>
__device__ inline int warp_best(int lane, int count, Value value) {
  float top = -INFINITY;
  int best = -1;
  for (int i = lane; i < count; i += kWarp)
    if (value(i) > top) top = value(i), best = i;
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, top, step);
    const int other_best = __shfl_xor_sync(kWholeWarp, best, step);
    if (other_best >= 0 && (best < 0 || other > top || (other == top && other_best < best))) top = other, best = other_best;
  }
  return best;
}

/// The sum of the values of the lanes below.
__device__ inline int warp_sum_before(int value) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int sum = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const int below = __shfl_sync(kWholeWarp, sum, lane >= step ? lane - step : lane);
    if (lane >= step) sum += below;
  }
  return sum - value;
}

}  // namespace canvaslab::cuda
