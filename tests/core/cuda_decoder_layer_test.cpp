// A decoder layer as the GPU's kernels, thread by thread on the processor.
#include "tests/support/kernels/simulated_launchers.h"

#include "core/kernels/cuda/decoder_layer.h"

namespace canvaslab::cuda {
namespace {

void run(const LayerCall& call, const LayerWorkspace& work) { EXPECT_EQ(canvaslab::cuda::decoder_layer(call, work, nullptr), 0); }

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/decoder_layer_checks.h"
