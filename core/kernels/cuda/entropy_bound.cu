// Launcher of the acceptance step.
#include "core/kernels/cuda/entropy_bound.cuh"
#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

int entropy_bound_step(const AcceptCall& call, void* stream) {
  if (call.num_canvases < 0 || call.vocabulary < 1 || call.num_banned < 0 || call.num_banned >= call.vocabulary) return cudaErrorInvalidValue;
  if (call.num_canvases == 0) return cudaSuccess;
  // Lengths lie in device memory: room for the longest.
  return launch_kernel(entropy_bound_kernel, call.num_canvases, AcceptTile::kThreads, kMaxCanvas * sizeof(uint64_t), stream, call);
}

}  // namespace canvaslab::cuda
