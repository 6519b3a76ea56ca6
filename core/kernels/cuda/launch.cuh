#pragma once
// How this folder's launchers launch.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/kernels/cuda/overlap.h"

namespace canvaslab::cuda {

/// kernel<<<blocks, threads, shared_bytes, stream>>>(call), which begins while the kernel before it ends where kernels overlap: its first words are those of overlap.cuh. Returns the launch's error, and nobody
/// who asks for the last one is told of it again.
template <typename Call>
int launch_kernel(void (*kernel)(Call), int64_t blocks, int threads, size_t shared_bytes, void* stream, const Call& call) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &overlap;
  config.numAttrs = kernels_overlap() ? 1 : 0;
  cudaError_t error = shared_bytes == 0 ? cudaSuccess : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, call);
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

}  // namespace canvaslab::cuda
