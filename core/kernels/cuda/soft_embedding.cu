// Launcher of self-conditioning.
#include "core/kernels/cuda/soft_embedding.cuh"

#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

int soft_embedding(const SoftEmbeddingCall& call, void* stream) {
  if (call.rows < 0 || call.vocabulary < 1 || call.vocabulary > kMaxSoftVocabulary || call.width < 8 || call.width % 8 != 0) return cudaErrorInvalidValue;
  if (!call.out.data) return cudaErrorInvalidValue;
  const auto by_row = [&](void (*kernel)(SoftEmbeddingCall)) { return call.rows > 0 ? launch_kernel(kernel, call.rows, SoftTile::kThreads, 0, stream, call) : cudaSuccess; };
  if (!call.logits) return by_row(soft_zero_kernel);
  if (!call.table || reinterpret_cast<uintptr_t>(call.table) % 16 != 0 || !call.workspace || reinterpret_cast<uintptr_t>(call.workspace) % 16 != 0) return cudaErrorInvalidValue;
  if (!(call.inverse_temperature > 0) || !(call.least >= 0)) return cudaErrorInvalidValue;
  if (call.rows == 0) return cudaSuccess;
  const auto by_tokens = [&](void (*kernel)(SoftEmbeddingCall)) { return launch_kernel(kernel, (call.vocabulary + SoftTile::kBlockTokens - 1) / SoftTile::kBlockTokens, SoftTile::kThreads, 0, stream, call); };
  if (const int e = by_row(soft_scale_kernel)) return e;
  if (call.least > 0) {
    if (const int e = by_tokens(soft_keep_kernel)) return e;
    if (const int e = by_tokens(soft_place_kernel)) return e;
  }
  if (const int e = by_row(soft_spread_kernel)) return e;
  if (const int e = launch_kernel(soft_multiply_kernel, soft_multiply_blocks(call), TableTile::kThreads, TableTile::kBytes, stream, call)) return e;
  return by_row(soft_add_kernel);
}

}  // namespace canvaslab::cuda
