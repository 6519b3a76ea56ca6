// Launchers of what makes structs in device memory.
#include "core/kernels/cuda/call_rows.cuh"
#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

namespace {

template <typename Call>
int launch(const Call& call, void* stream) {
  if (call.size() < 0 || !call.out) return cudaErrorInvalidValue;
  if (call.size() == 0) return cudaSuccess;
  return launch_kernel(make_rows_kernel<Call>, make_blocks(call), MakeTile::kThreads, 0, stream, call);
}

}  // namespace

int make_rows(const SequencesCall& call, void* stream) { return launch(call, stream); }
int make_rows(const StatisticsRowsCall& call, void* stream) { return launch(call, stream); }
int make_rows(const CanvasRowsCall& call, void* stream) { return launch(call, stream); }

int use_device(int32_t index) {
  int now = -1;
  if (const cudaError_t got = cudaGetDevice(&now); got != cudaSuccess) return got;
  return now == index ? cudaSuccess : cudaSetDevice(index);
}
const char* error_text(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

}  // namespace canvaslab::cuda
