// Launchers of the routing.
#include "core/kernels/cuda/routing.cuh"

#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

int route(const RouteCall& call, void* stream) {
  if (call.num_rows < 0 || call.slots < 1 || call.slots > call.num_experts || call.num_experts > kMaxExperts) return cudaErrorInvalidValue;
  if (!call.logits || !call.per_expert_scale || !call.expert || !call.weight) return cudaErrorInvalidValue;
  if (call.num_rows == 0) return cudaSuccess;
  return launch_kernel(route_kernel, RouteTile::blocks(call.num_rows), RouteTile::kThreads, RouteTile::bytes(call.num_experts), stream, call);
}

int group_by_expert(const GroupCall& call, void* stream) {
  if (call.num_routed < 0 || call.num_experts < 1 || call.num_experts > kMaxExperts || !call.begin || !call.place || !call.source || !call.expert) return cudaErrorInvalidValue;
  return launch_kernel(group_kernel, call.num_experts, GroupTile::kThreads, 0, stream, call);
}

}  // namespace canvaslab::cuda
