// The GPU's self-conditioning, thread by thread on the processor.
#include "tests/support/kernels/simulated.h"

#include "core/kernels/cuda/soft_embedding.cuh"

namespace canvaslab::cuda {
namespace {

void run(const SoftEmbeddingCall& call, bool falling) {
  const auto rows = static_cast<unsigned>(call.rows), blocks = static_cast<unsigned>((call.vocabulary + SoftTile::kBlockTokens - 1) / SoftTile::kBlockTokens);
  simt::launch(rows, SoftTile::kThreads, 0, [&] { soft_scale_kernel(call); }, falling);
  if (call.least > 0) {
    simt::launch(blocks, SoftTile::kThreads, 0, [&] { soft_keep_kernel(call); }, falling);
    simt::launch(blocks, SoftTile::kThreads, 0, [&] { soft_place_kernel(call); }, falling);
  }
  simt::launch(rows, SoftTile::kThreads, 0, [&] { soft_spread_kernel(call); }, falling);
  simt::launch(soft_multiply_blocks(call), TableTile::kThreads, TableTile::kBytes, [&] { soft_multiply_kernel(call); }, falling);
  simt::launch(rows, SoftTile::kThreads, 0, [&] { soft_add_kernel(call); }, falling);
}

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/soft_embedding_checks.h"
