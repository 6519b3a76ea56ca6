#include "core/network/operators/launch.h"

#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace canvaslab::operators {

namespace {

#ifdef CANVASLAB_HAS_CUDA
void check(int error, const Arguments& args) { TORCH_CHECK(error == 0, "canvaslab::", args.op(), ": ", cuda::error_text(error)); }
#define CANVASLAB_CARRY_OUT(function) (args_.on_cpu() ? on_host::function(call) : check(cuda::function(call, stream_), args_))
#else
#define CANVASLAB_CARRY_OUT(function) on_host::function(call)  // operators are then registered for the CPU alone
#endif

}  // namespace

// Through c10's own interface: the LibTorch that is linked need not have CUDA.
Site::Site(const Arguments& args) : args_(args) {
  const at::Device device = args.first().device();
  if (device.is_cpu()) return;
  guard_.reset_device(device);
#ifdef CANVASLAB_HAS_CUDA
  const c10::impl::VirtualGuardImpl torch(device.type());
  stream_ = torch.getStreamNativeHandle(torch.getStream(device));
  check(cuda::use_device(device.index()), args);
#endif
}

Tensor Site::workspace(int64_t bytes, bool everywhere) const {
  if (args_.on_cpu() && !everywhere) bytes = 0;
  return at::empty({bytes}, args_.first().options().dtype(at::kByte));
}

void Site::run(const cuda::ProductCall& call) const { CANVASLAB_CARRY_OUT(matrix_product); }
void Site::run(const cuda::RowGlueCall& call) const { CANVASLAB_CARRY_OUT(row_glue); }
void Site::run(const cuda::EmbedCall& call) const { CANVASLAB_CARRY_OUT(embed_rows); }
void Site::run(const cuda::GeluCall& call) const { CANVASLAB_CARRY_OUT(gelu_times_rows); }
void Site::run(const cuda::SoftCapCall& call) const { CANVASLAB_CARRY_OUT(soft_cap_rows); }
void Site::run(const cuda::HeadRowsCall& call) const { CANVASLAB_CARRY_OUT(head_rows); }
void Site::run(const cuda::SequencesCall& call) const { CANVASLAB_CARRY_OUT(make_rows); }
void Site::run(const cuda::AttentionCall& call) const { CANVASLAB_CARRY_OUT(attention); }
void Site::run(const cuda::RouteCall& call) const { CANVASLAB_CARRY_OUT(route); }
void Site::run(const cuda::GroupCall& call) const { CANVASLAB_CARRY_OUT(group_by_expert); }
void Site::run(const cuda::SoftEmbeddingCall& call) const { CANVASLAB_CARRY_OUT(soft_embedding); }
void Site::run(const cuda::StatisticsRowsCall& call) const { CANVASLAB_CARRY_OUT(make_rows); }
void Site::run(const cuda::StatisticsCall& call) const { CANVASLAB_CARRY_OUT(row_statistics); }
void Site::run(const cuda::CanvasRowsCall& call) const { CANVASLAB_CARRY_OUT(make_rows); }
void Site::run(const cuda::AcceptCall& call) const { CANVASLAB_CARRY_OUT(entropy_bound_step); }

}  // namespace canvaslab::operators
