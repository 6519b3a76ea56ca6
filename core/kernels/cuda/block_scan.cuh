#pragma once
// The sum over the threads before each in a block, by CUB, which the toolkit brings along. Of integers: in which order CUB adds is its own affair. For other compilers tests/support/simt.h has the same words.
#include "core/kernels/cuda/dialect.cuh"

#if defined(__CUDACC__)
#include <cub/block/block_scan.cuh>

namespace canvaslab::cuda {

template <int kThreads, typename T>
using BlockScan = cub::BlockScan<T, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
/// Shared memory of one scan; a barrier has to come before its next use.
template <int kThreads, typename T>
using BlockScanScratch = typename BlockScan<kThreads, T>::TempStorage;

/// The sum of the values of the threads before, by the whole block; `all`: of all threads.
template <int kThreads, typename T>
__device__ __forceinline__ T block_sum_before(T value, T& all, BlockScanScratch<kThreads, T>& scratch) {
  T before;
  BlockScan<kThreads, T>(scratch).ExclusiveSum(value, before, all);
  return before;
}

}  // namespace canvaslab::cuda
#endif
