// Experts of every token, and routed rows grouped by expert.
#include "core/kernels/cuda/routing.h"

#include <fmt/format.h>

#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

using TwoTensors = std::tuple<Tensor, Tensor>;
using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;

/// The k likeliest experts of every token under softmax(logits), in falling probability, ties to the lower index; weights over their sum times the experts' own scale.
/// Shapes: logits [T, E] f32, per_expert_scale [E] f32 -> expert [T, k] i32, weight [T, k] f32. k <= E <= 512.
constexpr auto kRoute = "route(Tensor logits, Tensor per_expert_scale, int k) -> (Tensor expert, Tensor weight)";

/// Routed rows sorted by expert, in their order within an expert; a routed row is a place in expert [T, k], R = T k of them.
/// Shapes: expert [T, k] i32, below num_experts <= 512 -> begin [num_experts + 1] i32: sorted rows of expert e are [begin[e], begin[e + 1]); place [T, k] i32: where a routed row stands among the sorted;
/// source [R] i32: which routed row stands there.
constexpr auto kGroupByExpert = "group_by_expert(Tensor expert, int num_experts) -> (Tensor begin, Tensor place, Tensor source)";

TwoTensors route_result(const Tensor& logits, const Tensor& per_expert_scale, int64_t k) {
  const Arguments args("route", logits);
  args.expect(logits, "logits", {kF32}, {kAny, kAny});
  const SymInt T = logits.sym_size(0), E = logits.sym_size(1);
  TORCH_SYM_CHECK(E.sym_ge(k).sym_and(E.sym_le(cuda::kMaxExperts)), "canvaslab::route: ", k, " experts of ", E, ", expected k up to their number and ", cuda::kMaxExperts, " at most");
  args.require(k >= 1, fmt::format("k is {}, expected at least 1", k));
  args.expect(per_expert_scale, "per_expert_scale", {kF32}, {E});
  return {args.make({T, k}, kI32), args.make({T, k}, kF32)};
}

TwoTensors route(const Tensor& logits, const Tensor& per_expert_scale, int64_t k) {
  const auto results = route_result(logits, per_expert_scale, k);
  const auto& [expert, weight] = results;
  const Arguments args("route", logits);
  const Site site(args);
  const cuda::RouteCall call{.num_rows = args.count(logits.size(0), "rows"), .num_experts = static_cast<int32_t>(logits.size(1)), .slots = static_cast<int32_t>(k), .logits = args.data<float>(logits, "logits"),
                             .per_expert_scale = args.data<float>(per_expert_scale, "per_expert_scale"), .expert = args.mutable_data<int32_t>(expert, "expert"), .weight = args.mutable_data<float>(weight, "weight")};
  if (call.num_rows > 0) site.run(call);
  return results;
}

ThreeTensors group_by_expert_result(const Tensor& expert, int64_t num_experts) {
  const Arguments args("group_by_expert", expert);
  args.expect(expert, "expert", {kI32}, {kAny, kAny});
  args.require(num_experts >= 1 && num_experts <= cuda::kMaxExperts, fmt::format("num_experts is {}, expected 1 to {}", num_experts, cuda::kMaxExperts));
  const SymInt T = expert.sym_size(0), k = expert.sym_size(1);
  return {args.make({num_experts + 1}, kI32), args.make({T, k}, kI32), args.make({T * k}, kI32)};
}

ThreeTensors group_by_expert(const Tensor& expert, int64_t num_experts) {
  const auto results = group_by_expert_result(expert, num_experts);
  const auto& [begin, place, source] = results;
  const Arguments args("group_by_expert", expert);
  const Site site(args);
  args.expect_within(expert, "expert", 0, num_experts);
  const cuda::GroupCall call{.num_routed = args.count(expert.numel(), "routed rows"), .num_experts = static_cast<int32_t>(num_experts), .expert = args.data<int32_t>(expert, "expert"), .begin = args.mutable_data<int32_t>(begin, "begin"),
                             .place = args.mutable_data<int32_t>(place, "place"), .source = args.mutable_data<int32_t>(source, "source")};
  if (call.num_routed > 0) site.run(call);
  else begin.zero_();
  return results;
}

CANVASLAB_OPERATOR("route", kRoute, route_result, route)
CANVASLAB_OPERATOR("group_by_expert", kGroupByExpert, group_by_expert_result, group_by_expert)

}  // namespace
}  // namespace canvaslab::operators
