#pragma once
// One layer as a sequence of kernels, a decoder's in a denoise step or an encoder's that appends to a cache, in the order of core/network/cpu_layer.cpp: fourteen launches at most, each of which may begin
// while the one before it ends (overlap.h), no memory of its own, no waiting on the host, so that a step can be captured in a graph. Factors of products are bf16 (as with bf16 weights on the CPU), the residual and all sums f32.
// Letters: S rows of all canvases, D hidden width, H and Hkv heads, Dh head width, F and M inner widths of the dense block and of an expert, E experts, k slots, R = S k.
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/cuda/row_glue.h"

namespace canvaslab::cuda {

struct LayerShape {
  int32_t hidden = 0, num_heads = 0, num_kv_heads = 0, head_width = 0, has_values = 1;
  int32_t dense_width = 0, num_experts = 0, slots = 0, expert_width = 0;
  float eps = 1e-6f;

  constexpr int32_t q_width() const { return num_heads * head_width; }
  constexpr int32_t kv_width() const { return num_kv_heads * head_width; }
  /// Columns of the joint projection of queries, keys and, where they have one of their own, values.
  constexpr int32_t qkv_width() const { return q_width() + (has_values ? 2 : 1) * kv_width(); }
};

/// Gains are f32 on the device.
struct LayerWeights {
  Weights qkv = {}, o = {}, gate_up = {}, down = {}, router = {}, experts_gate_up = {}, experts_down = {};  ///< [qkv, D], [D, H Dh], [2F, D], [D, F], [E, D], [E, 2M, D], [E, D, M]; router in bf16
  const float *q_norm = nullptr, *k_norm = nullptr;                      ///< [Dh]
  const float *post_attention_norm = nullptr, *pre_ffn_norm = nullptr, *pre_ffn_norm_2 = nullptr, *post_ffn_norm_1 = nullptr, *post_ffn_norm_2 = nullptr, *post_ffn_norm = nullptr, *router_scale = nullptr;  ///< [D]
  const float* per_expert_scale = nullptr;                               ///< [E]
  float scalar = 1;
};

/// Where a layer's intermediate results stand; one for all layers of a step.
struct LayerWorkspace {
  int64_t bytes = 0;
  uint16_t *normed, *normed_2, *routed, *q, *fresh_k, *fresh_v, *attended, *inner, *expert_inner;  // [S, D] three times, [S, H Dh], [S, Hkv Dh] twice, [S, H Dh], [S, F], [R, M]
  float *qkv, *projected, *dense, *parts, *router_logits, *weight, *attention;                    // [S, qkv], [pieces, S, D], [pieces, S, D], [R, D], [pieces, S, E], [R], attention_workspace
  int32_t *expert, *begin, *place, *source;                                                       // [R], [E + 1], [R], [R]

  /// Of S rows; attention_floats: the most that attention_workspace says of any layer. `memory` null: only bytes count.
  LayerWorkspace(void* memory, const LayerShape& s, int64_t rows, int64_t attention_floats) {
    const auto take = [&](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(static_cast<char*>(memory) + bytes);
      bytes += (count * static_cast<int64_t>(sizeof(*pointer)) + 255) / 256 * 256;
    };
    const int64_t D = s.hidden, routed_rows = rows * s.slots;
    for (auto* to : {&normed, &normed_2, &routed}) take(*to, rows * D);
    for (auto* to : {&q, &attended}) take(*to, rows * s.q_width());
    for (auto* to : {&fresh_k, &fresh_v}) take(*to, rows * s.kv_width());
    take(inner, rows * s.dense_width);
    take(expert_inner, routed_rows * s.expert_width);
    take(qkv, rows * s.qkv_width());
    take(projected, product_pieces(s.hidden, s.q_width()) * rows * D);
    take(dense, product_pieces(s.hidden, s.dense_width) * rows * D);
    take(parts, routed_rows * D);
    take(router_logits, product_pieces(s.num_experts, s.hidden) * rows * s.num_experts);
    take(weight, routed_rows);
    take(attention, attention_floats);
    for (auto* to : {&expert, &place, &source}) take(*to, routed_rows);
    take(begin, s.num_experts + 1);
  }
};

/// A layer's input and what differs from layer to layer.
struct LayerCall {
  LayerShape shape = {};
  LayerWeights w = {};
  int32_t rows = 0;                               ///< S
  float* x = nullptr;                             ///< [S, D] residual, in and out
  const float *cos = nullptr, *sin = nullptr;     ///< [S, Dh / 2], rows table_stride apart
  int64_t table_stride = 0;
  const AttentionSequence* sequences = nullptr;   ///< on the device; `fresh` of each: its rows of fresh_k, fresh_v as fresh_keys gives them
  int32_t num_sequences = 0, most_rows = 0, most_keys = 0;
  const int32_t *from = nullptr, *to = nullptr;   ///< [S] as in AttentionCall: what a prompt's rows see; null: everything
  KeyRowsOut append = {};                         ///< prompts: the first free row of the one sequence's cache, bf16; its keys then count among `cached` and `fresh` is empty. Null: fresh_keys
  NormedOut next = {};                                 ///< what the layer after this one, or the head, reads
};

/// Keys of a canvas whose rows begin at first_row, where a layer's head_rows leaves them.
inline KeySpan fresh_keys(const LayerWorkspace& work, const LayerShape& shape, int32_t first_row, int32_t rows) {
  const int64_t at = static_cast<int64_t>(first_row) * shape.kv_width();
  return {work.fresh_k + at, work.fresh_v + at, shape.kv_width(), shape.head_width, rows};
}

/// Precondition: work.normed holds norm(x) times the layer's input gain (by embed_rows or the layer before, whose `next` it is). Returns the first error of a launch.
inline int decoder_layer(const LayerCall& c, const LayerWorkspace& work, void* stream) {
  const LayerShape& s = c.shape;
  const int32_t D = s.hidden, R = c.rows * s.slots;
  const auto f32 = [](float* data, int64_t stride) { return RowsOut{data, stride, Storage::kF32}; };
  const auto bf16 = [](uint16_t* data, int64_t stride) { return RowsOut{data, stride, Storage::kBf16}; };
  // Where K is split; a prompt's many rows fill the device without.
  const auto split = [&](ProductCall call) {
    call.pieces = c.append.k ? 1 : product_pieces(call.n, call.k);
    call.piece_stride = int64_t{c.rows} * call.n;
    return call;
  };
  const auto result = [](const ProductCall& call) { return RowsIn{call.out.data, call.out.stride, Storage::kF32, call.pieces, call.piece_stride}; };
  const auto product = [&](const uint16_t* x, int32_t k, const Weights& w, int32_t n, bool gated, const RowsOut& out) {
    return ProductCall{.rows = c.rows, .n = n, .k = k, .x = x, .ldx = k, .w = w, .gated = gated, .out = out};
  };
  if (const int e = matrix_product(product(work.normed, D, c.w.qkv, s.qkv_width(), false, f32(work.qkv, s.qkv_width())), stream)) return e;
  const HeadRowsCall heads{.num_rows = c.rows, .num_heads = s.num_heads, .num_kv_heads = s.num_kv_heads, .head_width = s.head_width, .has_values = s.has_values, .eps = s.eps,
                           .rows = f32(work.qkv, s.qkv_width()).in(), .q_gain = c.w.q_norm, .k_gain = c.w.k_norm, .cos = c.cos, .sin = c.sin, .table_stride = c.table_stride, .q = bf16(work.q, s.q_width()),
                           .keys = c.append.k ? c.append : KeyRowsOut{work.fresh_k, work.fresh_v, s.kv_width(), s.head_width, Storage::kBf16}};
  if (const int e = head_rows(heads, stream)) return e;
  const AttentionCall attend{.sequences = c.sequences, .num_sequences = c.num_sequences, .most_rows = c.most_rows, .most_keys = c.most_keys, .num_heads = s.num_heads, .num_kv_heads = s.num_kv_heads,
                             .head_width = s.head_width, .q = work.q, .q_stride = s.q_width(), .from = c.from, .to = c.to, .out = bf16(work.attended, s.q_width()), .workspace = work.attention};
  if (const int e = attention(attend, stream)) return e;
  const ProductCall project = split(product(work.attended, s.q_width(), c.w.o, D, false, f32(work.projected, D)));
  if (const int e = matrix_product(project, stream)) return e;
  const auto root = static_cast<float>(std::pow(static_cast<double>(D), -0.5));
  const RowGlueCall middle{.num_rows = c.rows, .width = D, .eps = s.eps, .branch = result(project), .experts = {}, .gain = c.w.post_attention_norm, .residual = f32(c.x, D),
                           .outs = {{bf16(work.normed, D), c.w.pre_ffn_norm, 1}, {bf16(work.normed_2, D), c.w.pre_ffn_norm_2, 1}, {bf16(work.routed, D), c.w.router_scale, root}}};
  if (const int e = row_glue(middle, stream)) return e;

  const ProductCall router = split(product(work.routed, D, c.w.router, s.num_experts, false, f32(work.router_logits, s.num_experts)));
  if (const int e = matrix_product(router, stream)) return e;
  const RouteCall routes{.num_rows = c.rows, .num_experts = s.num_experts, .slots = s.slots, .logits = work.router_logits, .pieces = router.pieces, .piece_stride = router.piece_stride,
                         .per_expert_scale = c.w.per_expert_scale, .expert = work.expert, .weight = work.weight};
  if (const int e = route(routes, stream)) return e;
  if (const int e = group_by_expert({.num_routed = R, .num_experts = s.num_experts, .expert = work.expert, .begin = work.begin, .place = work.place, .source = work.source}, stream)) return e;
  if (const int e = matrix_product(product(work.normed, D, c.w.gate_up, s.dense_width, true, bf16(work.inner, s.dense_width)), stream)) return e;
  const ProductCall dense = split(product(work.inner, s.dense_width, c.w.down, D, false, f32(work.dense, D)));
  if (const int e = matrix_product(dense, stream)) return e;
  ProductCall up = product(work.normed_2, D, c.w.experts_gate_up, s.expert_width, true, bf16(work.expert_inner, s.expert_width));
  ProductCall down = product(work.expert_inner, s.expert_width, c.w.experts_down, D, false, f32(work.parts, D));
  for (ProductCall* grouped : {&up, &down}) grouped->rows = R, grouped->begin = work.begin, grouped->num_groups = s.num_experts;
  up.source = work.source;
  up.slots_per_row = s.slots;
  if (const int e = matrix_product(up, stream)) return e;
  if (const int e = matrix_product(down, stream)) return e;
  const RowGlueCall tail{.num_rows = c.rows, .width = D, .eps = s.eps, .branch = result(dense), .experts = {f32(work.parts, D).in(), work.place, work.weight, s.slots}, .branch_gain = c.w.post_ffn_norm_1,
                         .experts_gain = c.w.post_ffn_norm_2, .gain = c.w.post_ffn_norm, .scale = c.w.scalar, .residual = f32(c.x, D), .outs = {c.next, {}, {}}};
  return row_glue(tail, stream);
}

}  // namespace canvaslab::cuda
