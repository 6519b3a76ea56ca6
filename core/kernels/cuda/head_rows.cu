// Launcher of the norm and rotation of heads.
#include "core/kernels/cuda/head_rows.cuh"
#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

int head_rows(const HeadRowsCall& call, void* stream) {
  if (call.num_rows < 0 || call.num_heads < 1 || call.num_kv_heads < 1 || call.head_width < 2 || call.head_width > kMaxHeadWidth || call.head_width % 2 != 0) return cudaErrorInvalidValue;
  if (!call.rows.data || !call.q_gain || !call.k_gain || !call.cos || !call.sin || !call.q.data || !call.keys.k || !call.keys.v) return cudaErrorInvalidValue;
  if (call.num_rows == 0) return cudaSuccess;
  const int64_t blocks = (HeadTile::items(call) + HeadTile::kWarps - 1) / HeadTile::kWarps;
  return launch_kernel(head_rows_kernel, blocks, HeadTile::kThreads, 0, stream, call);
}

}  // namespace canvaslab::cuda
