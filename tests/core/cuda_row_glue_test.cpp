// The GPU's row-wise kernels, thread by thread on the processor.
#include "tests/support/kernels/simulated.h"

#include "core/kernels/cuda/head_rows.cuh"
#include "core/kernels/cuda/row_glue.cuh"

namespace canvaslab::cuda {
namespace {

void run(const RowGlueCall& call, bool falling) { simt::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, GlueTile::bytes(call.width), [&] { row_glue_kernel(call); }, falling); }
void run(const EmbedCall& call, bool falling) { simt::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, GlueTile::bytes(call.width), [&] { embed_rows_kernel(call); }, falling); }
void run(const GeluCall& call, bool falling) { simt::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, 0, [&] { gelu_times_kernel(call); }, falling); }
void run(const SoftCapCall& call, bool falling) { simt::launch(static_cast<unsigned>(call.num_rows), GlueTile::kThreads, 0, [&] { soft_cap_kernel(call); }, falling); }
void run(const HeadRowsCall& call, bool falling) {
  simt::launch(static_cast<unsigned>((HeadTile::items(call) + HeadTile::kWarps - 1) / HeadTile::kWarps), HeadTile::kThreads, 0, [&] { head_rows_kernel(call); }, falling);
}

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/row_glue_checks.h"
