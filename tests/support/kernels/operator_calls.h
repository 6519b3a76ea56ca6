#pragma once
// The kernels' calls made through torch's dispatcher, so that the checks of this folder look at the operators: a call's memory becomes tensors, and what the operator gives goes where the call wants it.
// Whoever includes this has defined operators_device() and operators_done(), after which the processor sees what operators wrote.
#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/cuda/row_glue.h"

namespace canvaslab {

using OptionalTensor = std::optional<at::Tensor>;

inline c10::OperatorHandle operator_named(const char* name) { return c10::Dispatcher::singleton().findSchemaOrThrow((std::string("canvaslab::") + name).c_str(), ""); }

/// Calls an operator with all its arguments, by their C++ types.
template <typename Result, typename... Arguments>
Result call_operator(const char* name, Arguments... arguments) {
  return operator_named(name).typed<Result(Arguments...)>().call(arguments...);
}

/// Memory as a tensor; nothing is copied.
inline at::Tensor tensor_of(const void* data, at::ScalarType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides = {}) {
  at::OptionalIntArrayRef apart;
  if (!strides.empty()) apart = strides;
  return at::for_blob(const_cast<void*>(data), sizes).strides(apart).target_device(operators_device()).options(at::TensorOptions(dtype).device(operators_device())).make_tensor();
}
inline OptionalTensor tensor_or_none(const void* data, at::ScalarType dtype, const std::vector<int64_t>& sizes) {
  if (!data) return std::nullopt;
  return tensor_of(data, dtype, sizes);
}
inline at::ScalarType dtype_of(Storage storage) { return storage == Storage::kF32 ? at::kFloat : at::kBFloat16; }
inline at::Tensor rows_of(const RowsIn& rows, int64_t count, int64_t width) { return tensor_of(rows.data, dtype_of(rows.storage), {count, width}, {rows.stride, 1}); }
inline at::Tensor rows_of(const RowsOut& rows, int64_t count, int64_t width) { return rows_of(rows.in(), count, width); }

namespace cuda {

inline void run(const ProductCall& c, unsigned, bool) {
  const int64_t features = int64_t{c.n} * (c.gated ? 2 : 1), G = c.num_groups, slots = c.slots_per_row;
  const bool packed = c.w.format == WeightFormat::kE2m1 || c.w.format == WeightFormat::kInt4, grouped = c.begin || c.source;
  const auto of_matrices = [&](std::vector<int64_t> sizes) {
    if (grouped) sizes.insert(sizes.begin(), G);
    return sizes;
  };
  const int64_t x_rows = c.source ? (c.rows == 0 ? 0 : *std::max_element(c.source, c.source + c.rows) / slots + 1) : c.rows;
  const auto x = tensor_of(c.x, at::kBFloat16, {x_rows, c.k}, {c.ldx, 1});
  const auto codes = c.w.format == WeightFormat::kBf16 ? at::kBFloat16 : packed ? at::kByte : at::kFloat8_e4m3fn;
  const auto weight = tensor_of(c.w.codes, codes, of_matrices({features, packed ? c.k / 2 : c.k}));
  OptionalTensor group_scales, scale;
  if (c.w.format == WeightFormat::kE2m1) group_scales = tensor_of(c.w.group_scales, at::kFloat8_e4m3fn, of_matrices({features, c.k / 16}));
  if (c.w.format == WeightFormat::kInt4) group_scales = tensor_of(c.w.group_scales, at::kBFloat16, of_matrices({features, c.k / 32}));
  if (c.w.row_scales) scale = tensor_of(c.w.row_scales, at::kFloat, of_matrices({features}));
  const std::optional<at::ScalarType> dtype = dtype_of(c.out.storage);
  at::Tensor out;
  if (grouped) {
    const auto begin = tensor_of(c.begin, at::kInt, {G + 1});
    out = call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, int64_t, const OptionalTensor&, const OptionalTensor&, bool, std::optional<at::ScalarType>>(
        "grouped_product", x, weight, begin, tensor_or_none(c.source, at::kInt, {c.rows}), slots, scale, group_scales, c.gated != 0, dtype);
  } else {
    out = call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, bool, std::optional<at::ScalarType>>("product", x, weight, scale, group_scales, c.gated != 0, dtype);
  }
  rows_of(c.out, c.rows, c.n).copy_(out);
  operators_done();
}
inline void run_wide(const ProductCall& call) { run(call, 0, false); }

inline void run(const RouteCall& c, bool) {
  const auto [expert, weight] = call_operator<std::tuple<at::Tensor, at::Tensor>, const at::Tensor&, const at::Tensor&, int64_t>(
      "route", tensor_of(c.logits, at::kFloat, {c.num_rows, c.num_experts}), tensor_of(c.per_expert_scale, at::kFloat, {c.num_experts}), c.slots);
  tensor_of(c.expert, at::kInt, {c.num_rows, c.slots}).copy_(expert);
  tensor_of(c.weight, at::kFloat, {c.num_rows, c.slots}).copy_(weight);
  operators_done();
}
inline void run(const GroupCall& c, bool) {
  const auto [begin, place, source] =
      call_operator<std::tuple<at::Tensor, at::Tensor, at::Tensor>, const at::Tensor&, int64_t>("group_by_expert", tensor_of(c.expert, at::kInt, {c.num_routed, 1}), c.num_experts);
  tensor_of(c.begin, at::kInt, {c.num_experts + 1}).copy_(begin);
  tensor_of(c.place, at::kInt, {c.num_routed, 1}).copy_(place);
  tensor_of(c.source, at::kInt, {c.num_routed}).copy_(source);
  operators_done();
}

/// The norms of one dtype that a call wants: an operator gives all its norms in one.
struct WantedNorms {
  WantedNorms(const NormedOut (&outs)[3], Storage storage, int64_t rows, int64_t width) {
    for (const auto& out : outs) {
      if (!out.out.data || out.out.storage != storage) continue;
      gains.push_back(tensor_or_none(out.gain, at::kFloat, {width}));
      factors.push_back(static_cast<double>(out.factor));
      to.push_back(rows_of(out.out, rows, width));
    }
  }
  void take(const std::vector<at::Tensor>& norms) const {
    for (size_t i = 0; i < to.size(); ++i) to[i].copy_(norms[i]);
  }
  c10::List<OptionalTensor> gains;
  std::vector<double> factors;
  std::vector<at::Tensor> to;
};

inline void run(const RowGlueCall& c, bool) {
  const auto residual = rows_of(c.residual, c.num_rows, c.width);
  const auto vector_of = [&](const float* data) { return tensor_or_none(data, at::kFloat, {c.width}); };
  const ExpertSum& experts = c.experts;
  OptionalTensor parts, place, weight, branch_gain, parts_gain;
  if (experts.parts.data) {
    const auto routed = static_cast<int64_t>(c.num_rows) * experts.slots;
    parts = rows_of(experts.parts, routed == 0 ? 0 : *std::max_element(experts.place, experts.place + routed) + 1, c.width);
    place = tensor_of(experts.place, at::kInt, {c.num_rows, experts.slots});
    weight = tensor_of(experts.weight, at::kFloat, {c.num_rows, experts.slots});
    branch_gain = vector_of(c.branch_gain);
    parts_gain = vector_of(c.experts_gain);
  }
  at::Tensor x;
  for (const Storage storage : {Storage::kF32, Storage::kBf16}) {
    const WantedNorms wanted(c.outs, storage, c.num_rows, c.width);
    const std::optional<at::ScalarType> dtype = dtype_of(storage);
    if (!c.branch.data) {
      wanted.take(call_operator<std::vector<at::Tensor>, const at::Tensor&, const c10::List<OptionalTensor>&, at::ArrayRef<double>, double, std::optional<at::ScalarType>>("norms", residual, wanted.gains, wanted.factors,
                                                                                                                                                                      static_cast<double>(c.eps), dtype));
      continue;
    }
    auto results = call_operator<std::tuple<at::Tensor, std::vector<at::Tensor>>, const at::Tensor&, const at::Tensor&, const at::Tensor&, const c10::List<OptionalTensor>&, at::ArrayRef<double>, const OptionalTensor&,
                                 const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, double, double, std::optional<at::ScalarType>>(
        "add_norm", residual, rows_of(c.branch, c.num_rows, c.width), *vector_of(c.gain), wanted.gains, wanted.factors, parts, place, weight, branch_gain, parts_gain, static_cast<double>(c.scale), static_cast<double>(c.eps), dtype);
    x = std::get<0>(results);
    wanted.take(std::get<1>(results));
  }
  if (x.defined()) residual.copy_(x);
  operators_done();
}

inline void run(const EmbedCall& c, bool) {
  int64_t vocabulary = 1;
  for (int32_t r = 0; r < c.num_rows; ++r) vocabulary = std::max<int64_t>(vocabulary, c.ids[r] + 1);
  OptionalTensor signal;
  if (c.signal.data) signal = rows_of(c.signal, c.num_rows, c.width);
  for (const Storage storage : {Storage::kF32, Storage::kBf16}) {
    const WantedNorms wanted(c.outs, storage, c.num_rows, c.width);
    auto results = call_operator<std::tuple<at::Tensor, std::vector<at::Tensor>>, const at::Tensor&, const at::Tensor&, const c10::List<OptionalTensor>&, at::ArrayRef<double>, double, const OptionalTensor&, bool, double,
                                 std::optional<at::ScalarType>>("embed_rows", tensor_of(c.ids, at::kInt, {c.num_rows}), rows_of(c.table, vocabulary, c.width), wanted.gains, wanted.factors, static_cast<double>(c.scale),
                                                                signal, c.normed != 0, static_cast<double>(c.eps), dtype_of(storage));
    rows_of(c.residual, c.num_rows, c.width).copy_(std::get<0>(results));
    wanted.take(std::get<1>(results));
  }
  operators_done();
}
inline void run(const GeluCall& c, bool) {
  rows_of(c.out, c.num_rows, c.width).copy_(call_operator<at::Tensor, const at::Tensor&, std::optional<at::ScalarType>>("gelu_times", rows_of(c.both, c.num_rows, int64_t{2} * c.width), dtype_of(c.out.storage)));
  operators_done();
}
inline void run(const SoftCapCall& c, bool) {
  const at::Tensor x = rows_of(c.x, c.num_rows, c.width).clone();
  call_operator<void, const at::Tensor&, double>("soft_cap_", x, static_cast<double>(c.cap));
  rows_of(c.out, c.num_rows, c.width).copy_(x);
  operators_done();
}

inline void run(const HeadRowsCall& c, bool) {
  const int64_t S = c.num_rows, width = c.head_width, half = width / 2, columns = (c.num_heads + (c.has_values ? 2 : 1) * c.num_kv_heads) * width;
  const auto gain = [&](const float* data) { return tensor_of(data, at::kFloat, {width}); };
  const auto angles = [&](const float* data) { return tensor_of(data, at::kFloat, {S, half}, {c.table_stride, 1}); };
  const auto [q, k, v] = call_operator<std::tuple<at::Tensor, at::Tensor, at::Tensor>, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, double, std::optional<at::ScalarType>>(
      "head_rows", rows_of(c.rows, S, columns), gain(c.q_gain), gain(c.k_gain), angles(c.cos), angles(c.sin), c.num_heads, c.num_kv_heads, static_cast<double>(c.eps), dtype_of(c.q.storage));
  rows_of(c.q, S, c.num_heads * width).copy_(q.view({S, c.num_heads * width}));
  const auto keys = [&](void* data) { return tensor_of(data, dtype_of(c.keys.storage), {S, c.num_kv_heads, width}, {c.keys.row_stride, c.keys.head_stride, 1}); };
  keys(c.keys.k).copy_(k);
  keys(c.keys.v).copy_(v);
  operators_done();
}

/// A sequence at a time: those of a call may differ in length.
inline void run(const AttentionCall& c, bool) {
  const int64_t H = c.num_heads, Hkv = c.num_kv_heads, width = c.head_width;
  for (int32_t s = 0; s < c.num_sequences; ++s) {
    const AttentionSequence& sequence = c.sequences[s];
    const int64_t L = sequence.num_rows, first = sequence.first_row;
    const auto cached = [&](const uint16_t* data) { return tensor_of(data, at::kBFloat16, {1, Hkv, sequence.cached.count, width}, {8, sequence.cached.head_stride, sequence.cached.row_stride, 1}); };
    const auto fresh = [&](const uint16_t* data) { return tensor_of(data, at::kBFloat16, {1, sequence.fresh.count, Hkv, width}, {8, sequence.fresh.row_stride, sequence.fresh.head_stride, 1}); };
    const auto limits = [&](const int32_t* data) { return tensor_or_none(data ? data + first : nullptr, at::kInt, {1, L}); };
    const auto out = call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
                                   std::optional<at::ScalarType>>("attention", tensor_of(c.q + first * c.q_stride, at::kBFloat16, {1, L, H, width}), cached(sequence.cached.k), cached(sequence.cached.v), fresh(sequence.fresh.k),
                                                                  fresh(sequence.fresh.v), std::nullopt, limits(c.from), limits(c.to), dtype_of(c.out.storage));
    const int64_t bytes = c.out.storage == Storage::kF32 ? 4 : 2;
    rows_of(RowsOut{static_cast<char*>(c.out.data) + first * c.out.stride * bytes, c.out.stride, c.out.storage}, L, H * width).copy_(out.view({L, H * width}));
  }
  operators_done();
}

}  // namespace cuda
}  // namespace canvaslab
