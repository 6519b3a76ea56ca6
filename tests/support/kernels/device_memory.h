#pragma once
// Memory that a GPU shares with the processor.
#include <cuda_runtime_api.h>

#include <cstdlib>

#include <fmt/format.h>

#include "tests/support/kernels/memory.h"

namespace canvaslab {

inline std::string device_missing() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return "";
  return fmt::format("no CUDA device ({})", cudaGetErrorString(error));
}
inline void* kernel_allocate(size_t bytes) {
  void* memory = nullptr;
  if (cudaMallocManaged(&memory, bytes + 1, cudaMemAttachGlobal) != cudaSuccess) throw std::bad_alloc();
  return memory;
}
inline void kernel_release(void* memory) noexcept { cudaFree(memory); }

/// What a launcher returned, and whether the kernels came to their end.
inline void expect_done(int launched) {
  ASSERT_EQ(launched, cudaSuccess) << cudaGetErrorString(static_cast<cudaError_t>(launched));
  const cudaError_t done = cudaDeviceSynchronize();
  ASSERT_EQ(done, cudaSuccess) << cudaGetErrorString(done);
}

}  // namespace canvaslab
