// Launcher of the row statistics.
#include "core/kernels/cuda/row_statistics.cuh"

#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

int row_statistics(const StatisticsCall& call, void* stream) {
  if (call.num_rows < 0 || call.vocabulary < 1 || call.vocabulary > kMaxVocabulary || !call.bad_row) return cudaErrorInvalidValue;
  if (call.num_rows == 0) return cudaSuccess;
  const size_t bytes = StatisticsTile::bytes((call.vocabulary + static_cast<int>(kTile) - 1) / static_cast<int>(kTile));
  return launch_kernel(row_statistics_kernel, call.num_rows, StatisticsTile::kThreads, bytes, stream, call);
}

}  // namespace canvaslab::cuda
