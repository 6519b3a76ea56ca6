// Launcher of self-conditioning.
#include "core/kernels/cuda/soft_embedding.cuh"

namespace canvaslab::cuda {

int soft_embedding(const SoftEmbeddingCall& call, void* stream) {
  if (call.rows < 0 || call.vocabulary < 1 || call.vocabulary > kMaxSoftVocabulary || call.width < 8 || call.width % 8 != 0) return cudaErrorInvalidValue;
  if (!call.out.data) return cudaErrorInvalidValue;
  if (!call.logits) {
    if (call.rows > 0) soft_zero_kernel<<<static_cast<unsigned>(call.rows), SoftTile::kThreads, 0, static_cast<cudaStream_t>(stream)>>>(call);
    return cudaGetLastError();
  }
  if (!call.table || reinterpret_cast<uintptr_t>(call.table) % 16 != 0 || !call.workspace || reinterpret_cast<uintptr_t>(call.workspace) % 16 != 0) return cudaErrorInvalidValue;
  if (!(call.inverse_temperature > 0) || !(call.least >= 0)) return cudaErrorInvalidValue;
  if (call.rows == 0) return cudaSuccess;
  if (const cudaError_t set = cudaFuncSetAttribute(soft_multiply_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, TableTile::kBytes); set != cudaSuccess) return set;
  const auto rows = static_cast<unsigned>(call.rows), blocks = static_cast<unsigned>((call.vocabulary + SoftTile::kBlockTokens - 1) / SoftTile::kBlockTokens);
  const auto on = static_cast<cudaStream_t>(stream);
  soft_scale_kernel<<<rows, SoftTile::kThreads, 0, on>>>(call);
  if (call.least > 0) {
    soft_keep_kernel<<<blocks, SoftTile::kThreads, 0, on>>>(call);
    soft_place_kernel<<<blocks, SoftTile::kThreads, 0, on>>>(call);
  }
  soft_spread_kernel<<<rows, SoftTile::kThreads, 0, on>>>(call);
  soft_multiply_kernel<<<soft_multiply_blocks(call), TableTile::kThreads, TableTile::kBytes, on>>>(call);
  soft_add_kernel<<<rows, SoftTile::kThreads, 0, on>>>(call);
  return cudaGetLastError();
}

}  // namespace canvaslab::cuda
