#pragma once
// What kernels say so that they may begin before those ahead of them on the stream have ended (PTX ISA: griddepcontrol; nothing before sm_90). Every kernel of this folder begins with
//
//   wait_for_earlier_kernels();   before it reads anything in global memory but weights, or writes anything there
//   let_later_kernels_begin();
//
// in all of its threads, those too that have nothing to do. The second may stand right behind the first: what begins then waits in its turn until this whole grid has ended and its writes are seen. And as no
// thread of a grid ends before it has waited, a grid ends after the one before it: to have waited for one is to have waited for all. Later blocks begin once every block of this grid has said so, which all
// are then on a multiprocessor or through, so they take no room but what is left.
// For other compilers tests/support/simt.h has the same words.
#include "core/kernels/cuda/dialect.cuh"

namespace canvaslab::cuda {

#if defined(__CUDACC__)

__device__ __forceinline__ void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_later_kernels_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Asks for a line of 128 bytes of global memory in the second-level cache, also before the wait where no kernel writes it.
__device__ __forceinline__ void prefetch_line(const void* global) { asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(global))); }

#endif

}  // namespace canvaslab::cuda
