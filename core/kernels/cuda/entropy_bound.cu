// Launcher of the acceptance step.
#include "core/kernels/cuda/entropy_bound.cuh"

namespace canvaslab::cuda {

int entropy_bound_step(const AcceptCall& call, void* stream) {
  if (call.num_canvases < 0 || call.vocabulary < 1 || call.num_banned < 0 || call.num_banned >= call.vocabulary) return cudaErrorInvalidValue;
  if (call.num_canvases == 0) return cudaSuccess;
  // Lengths lie in device memory: room for the longest.
  entropy_bound_kernel<<<static_cast<unsigned>(call.num_canvases), AcceptTile::kThreads, kMaxCanvas * sizeof(uint64_t), static_cast<cudaStream_t>(stream)>>>(call);
  return cudaGetLastError();
}

}  // namespace canvaslab::cuda
