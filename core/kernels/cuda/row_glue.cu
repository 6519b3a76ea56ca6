// Launchers of the row glue.
#include "core/kernels/cuda/row_glue.cuh"

#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

namespace {

bool sizes_fit(int32_t num_rows, int32_t width) { return num_rows >= 0 && width >= 1 && width <= kMaxWidth; }

template <typename Call>
int launch_rows(void (*kernel)(Call), const Call& call, size_t bytes, void* stream) {
  if (call.num_rows == 0) return cudaSuccess;
  return launch_kernel(kernel, call.num_rows, GlueTile::kThreads, bytes, stream, call);
}

}  // namespace

int row_glue(const RowGlueCall& call, void* stream) {
  const bool experts = call.experts.parts.data != nullptr;
  if (!sizes_fit(call.num_rows, call.width) || !call.residual.data || (call.branch.data && !call.gain)) return cudaErrorInvalidValue;
  if (experts && (!call.branch.data || !call.branch_gain || !call.experts_gain || !call.experts.place || !call.experts.weight || call.experts.slots < 1)) return cudaErrorInvalidValue;
  return launch_rows(row_glue_kernel, call, GlueTile::bytes(call.width), stream);
}

int embed_rows(const EmbedCall& call, void* stream) {
  if (!sizes_fit(call.num_rows, call.width) || !call.residual.data || !call.table.data || !call.ids) return cudaErrorInvalidValue;
  return launch_rows(embed_rows_kernel, call, GlueTile::bytes(call.width), stream);
}

int gelu_times_rows(const GeluCall& call, void* stream) {
  if (call.num_rows < 0 || call.width < 1 || !call.both.data || !call.out.data) return cudaErrorInvalidValue;
  return launch_rows(gelu_times_kernel, call, 0, stream);
}

int soft_cap_rows(const SoftCapCall& call, void* stream) {
  if (call.num_rows < 0 || call.width < 1 || !(call.cap > 0) || !call.x.data || !call.out.data) return cudaErrorInvalidValue;
  return launch_rows(soft_cap_kernel, call, 0, stream);
}

}  // namespace canvaslab::cuda
