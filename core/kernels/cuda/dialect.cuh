#pragma once
// The few words of CUDA C++ that the kernels of this folder use. nvcc knows them; for every other compiler tests/support/simt.h
// defines them and runs the same kernels thread by thread on the processor: it has to be included first.

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define CANVASLAB_DYNAMIC_SHARED(name) extern __shared__ __align__(16) double name[]  // 16 bytes: matrix loads and asynchronous copies
#define CANVASLAB_UNROLL _Pragma("unroll")
#define CANVASLAB_ROLLED _Pragma("unroll 1")
#elif !defined(CANVASLAB_SIMT)
#error "kernels are compiled by nvcc, or after tests/support/simt.h"
#endif

namespace canvaslab::cuda {

inline constexpr unsigned kWholeWarp = 0xffffffffu;
inline constexpr int kWarp = 32;

#if defined(__CUDACC__)
/// 16 bytes in one go, from where they are aligned.
template <typename T>
__device__ __forceinline__ T load_16(const void* from) {
  static_assert(sizeof(T) == 16 && alignof(T) == 16);
  return *static_cast<const T*>(from);
}
#endif

}  // namespace canvaslab::cuda
