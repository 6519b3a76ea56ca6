#pragma once
// Arithmetic that the processor and the GPU share is written once, in headers: what nvcc sees runs on both, what another
// compiler sees is plain C++. Kernels are compiled without fused multiply-add, so both round alike.

#if defined(__CUDACC__)
#define CANVASLAB_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define CANVASLAB_HOST_DEVICE inline
#endif

/// The symbol of a launcher: what it takes are pointers and numbers, so other languages may call it by a name that no compiler makes up.
#define CANVASLAB_C_NAME(name) __asm__("canvaslab_" #name)
