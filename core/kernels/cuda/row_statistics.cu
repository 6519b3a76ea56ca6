// Launcher of the row statistics.
#include "core/kernels/cuda/row_statistics.cuh"

namespace canvaslab::cuda {

int row_statistics(const StatisticsCall& call, void* stream) {
  if (call.num_rows < 0 || call.vocabulary < 1 || call.vocabulary > kMaxVocabulary || !call.bad_row) return cudaErrorInvalidValue;
  if (call.num_rows == 0) return cudaSuccess;
  const size_t bytes = StatisticsTile::bytes((call.vocabulary + static_cast<int>(kTile) - 1) / static_cast<int>(kTile));
  if (const cudaError_t set = cudaFuncSetAttribute(row_statistics_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)); set != cudaSuccess) return set;
  row_statistics_kernel<<<static_cast<unsigned>(call.num_rows), StatisticsTile::kThreads, bytes, static_cast<cudaStream_t>(stream)>>>(call);
  return cudaGetLastError();
}

}  // namespace canvaslab::cuda
