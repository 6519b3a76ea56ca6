// Launchers of what stands around a step in a loop on the device.
#include "core/kernels/cuda/denoise_loop.cuh"
#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

namespace {

bool sound(const LoopCall& call) {
  return call.num_canvases >= 1 && call.num_rows >= 1 && call.most_steps >= 1 && call.canvases && call.steps && call.step && call.finished && call.running && call.statistics_rows && call.accept_canvases &&
         call.feedback_inverse_temperature && call.columns && call.record && call.accept.canvas && call.accept.stop && call.statistics.bad_row;
}

}  // namespace

int begin_step(const LoopCall& call, void* stream) {
  if (!sound(call)) return cudaErrorInvalidValue;
  return launch_kernel(begin_step_kernel, call.num_canvases, LoopTile::kThreads, 0, stream, call);
}

int end_step(const LoopCall& call, void* stream) {
  if (!sound(call)) return cudaErrorInvalidValue;
  return launch_kernel(end_step_kernel, call.num_canvases, LoopTile::kThreads, 0, stream, call);
}

}  // namespace canvaslab::cuda
