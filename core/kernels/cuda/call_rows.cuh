#pragma once
// Structs made in device memory, the kernel: one thread a struct.
#include "core/kernels/cuda/call_rows.h"
#include "core/kernels/cuda/dialect.cuh"
#include "core/kernels/cuda/overlap.cuh"

namespace canvaslab::cuda {

struct MakeTile {
  static constexpr int kThreads = 128;
};

template <typename Call>
__global__ void __launch_bounds__(MakeTile::kThreads) make_rows_kernel(Call call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  const auto i = static_cast<int32_t>(blockIdx.x) * MakeTile::kThreads + static_cast<int32_t>(threadIdx.x);
  if (i < call.size()) call.make(i);
}

/// Its blocks.
template <typename Call>
constexpr unsigned make_blocks(const Call& call) {
  return static_cast<unsigned>((call.size() + MakeTile::kThreads - 1) / MakeTile::kThreads);
}

}  // namespace canvaslab::cuda
