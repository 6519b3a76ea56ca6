// The same order of operations as network.cpp, whose tensors train, run on GPUs and are what this is tested against. With bf16
// weights only the factors of products are rounded, those of attention included; all else stays in f32.
#include "core/network/cpu_layer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/kernels/row_ops.h"
#include "core/network/model_config.h"
#include "core/network/network.h"

namespace canvaslab {
namespace {

constexpr int64_t kCausalChunk = 64;   // causal queries attended at once: the more, the more keys are met in vain
constexpr int64_t kQueryChunk = 256;   // others

/// x [rows, w.k] as products with w take it.
FactorRows rounded(float* x, int64_t rows, const LaidMatrix& w, CpuWorkspace& ws) {
  if (!w.bf16) return {.f32 = x, .stride = w.k};
  int64_t stride = 0;
  uint16_t* halves = round_rows(x, rows, w.k, stride, ws);
  return {.bf16 = halves, .stride = stride};
}

/// Number: of keys and values, float or uint16_t for bf16.
template <typename Number>
class Layer {
 public:
  Layer(const CpuForward& forward, const PackedLayer& weights, const LayerConfig& layer_shape, const float* cosines, const float* sines)
      : config(forward.config), S(forward.num_tokens), x(forward.x), ws(forward.ws), block(forward.block), w(weights), shape(layer_shape), cos(cosines), sin(sines) {}

  void decode(const KvCache::Layer& cached) {
    project();
    const int64_t before = cached.k.size(1);
    const KeyRows<Number> fresh{.k = rows() + q_width(), .v = rows() + q_width() + kv_width(), .row_stride = row_width(), .head_stride = shape.head_dim, .count = S};
    ws.from.assign(static_cast<size_t>(S), 0);
    ws.to.assign(static_cast<size_t>(S), before + S);
    attend({stored(cached.k, cached.v, before), fresh}, kQueryChunk);
    finish(w.decoder_scalar);
  }

  void encode(GrowingKeys& keys) {
    project();
    append(keys);
    const int64_t before = keys.filled - S;
    ws.from.resize(static_cast<size_t>(S));
    ws.to.resize(static_cast<size_t>(S));
    seen_keys(block, before, shape.sliding ? config.sliding_window : 0, ws.from, ws.to);
    attend({stored(keys.k, keys.v, keys.filled), {}}, kCausalChunk);
    finish(w.encoder_scalar);
  }

 private:
  const ModelConfig& config;
  const int64_t S;
  float* x;
  CpuWorkspace& ws;
  std::span<const int64_t> block;
  const PackedLayer& w;
  const LayerConfig& shape;
  const float *cos, *sin;
  const RowOps& ops = row_ops();
  const int64_t D = config.hidden_size;
  const float eps = static_cast<float>(config.rms_norm_eps);

  /// Queries, keys and values of the tokens [S, row_width()], as attention multiplies them.
  const Number* rows() const {
    if constexpr (std::is_same_v<Number, float>) return ws.qkv.data();
    else return ws.qkv_bf16.data();
  }
  KeyRows<Number> stored(const at::Tensor& k, const at::Tensor& v, int64_t count) const {
    return {.k = static_cast<const Number*>(k.const_data_ptr()), .v = static_cast<const Number*>(v.const_data_ptr()), .row_stride = shape.head_dim, .head_stride = k.size(1) * shape.head_dim, .count = count};
  }
  int64_t q_width() const { return config.num_heads * shape.head_dim; }
  int64_t kv_width() const { return shape.num_kv_heads * shape.head_dim; }
  int64_t row_width() const { return q_width() + 2 * kv_width(); }

  /// In place.
  void norm_rows(const std::vector<float>& gain, float* rows_of) const {
    for (int64_t r = 0; r < S; ++r) ops.rms_norm(rows_of + r * D, gain.data(), eps, static_cast<size_t>(D), rows_of + r * D);
  }
  /// The residual, normed, as products with w take it.
  FactorRows normed(const std::vector<float>& gain, const LaidMatrix& w_of) const {
    const FactorRows out = factor_rows(w_of, S, ws.normed);
    for (int64_t r = 0; r < S; ++r) out.norm(r, x + r * D, gain.data(), eps, static_cast<size_t>(D));
    return out;
  }

  /// Rows of queries, keys and values [S, (H + 2 Hkv) * Dh]: products, norms, rotations.
  void project() {
    const int64_t H = config.num_heads, Hkv = shape.num_kv_heads, Dh = shape.head_dim, width = row_width();
    float* rows = ws.qkv.get(S * width);
    multiply(normed(w.input_norm, w.qkv), S, w.qkv, 0, rows, width);
    const auto n = static_cast<size_t>(Dh);
    for (int64_t s = 0; s < S; ++s) {
      float *q = rows + s * width, *k = q + q_width(), *v = k + kv_width();
      for (int64_t head = 0; head < Hkv; ++head) ops.rms_norm((w.has_v ? v : k) + head * Dh, nullptr, eps, n, v + head * Dh);
      for (int64_t head = 0; head < H + Hkv; ++head) {
        float* at = q + head * Dh;  // keys follow the queries
        ops.rms_norm(at, (head < H ? w.q_norm : w.k_norm).data(), eps, n, at);
        ops.rotate(at, cos + s * Dh, sin + s * Dh, n / 2);
      }
    }
    if constexpr (!std::is_same_v<Number, float>) ops.to_bf16(rows, static_cast<size_t>(S * width), ws.qkv_bf16.get(S * width));
  }

  /// Copies the new keys and values behind those that are there; sliding layers first drop what no later query sees.
  void append(GrowingKeys& keys) const {
    const int64_t Dh = shape.head_dim, capacity = keys.k.size(1);
    auto *k = static_cast<Number*>(keys.k.mutable_data_ptr()), *v = static_cast<Number*>(keys.v.mutable_data_ptr());
    if (keys.filled + S > capacity) {
      const int64_t kept = std::min(keys.filled, config.sliding_window - 1), dropped = keys.filled - kept;
      for (int64_t head = 0; head < shape.num_kv_heads; ++head)
        for (Number* all : {k, v}) std::copy_n(all + (head * capacity + dropped) * Dh, kept * Dh, all + head * capacity * Dh);
      keys.filled = kept;
    }
    const Number* fresh = rows() + q_width();
    for (int64_t head = 0; head < shape.num_kv_heads; ++head) {
      for (int64_t s = 0; s < S; ++s) {
        const Number* from = fresh + s * row_width() + head * Dh;
        const int64_t to = (head * capacity + keys.filled + s) * Dh;
        std::copy_n(from, Dh, k + to);
        std::copy_n(from + kv_width(), Dh, v + to);
      }
    }
    keys.filled += S;
  }

  void attend(const std::array<KeyRows<Number>, 2>& keys, int64_t chunk) {
    canvaslab::attend(AttentionCall<Number>{.num_queries = S, .num_heads = config.num_heads, .num_kv_heads = shape.num_kv_heads, .head_dim = shape.head_dim, .q = rows(), .q_stride = row_width(), .keys = keys,
                       .from = ws.from, .to = ws.to, .chunk = chunk, .out = ws.attended.get(S * q_width())},
                      ws.attention);
  }

  /// From the attended heads to the layer's end.
  void finish(float scalar) {
    const auto width = static_cast<size_t>(D);
    float* projected = ws.projected.get(S * D);
    multiply(rounded(ws.attended.data(), S, w.o, ws), S, w.o, 0, projected, D);
    for (int64_t s = 0; s < S; ++s) ops.add_norm(projected + s * D, w.post_attention_norm.data(), eps, width, x + s * D);
    float *dense = ws.dense.get(S * D), *sparse = ws.sparse.get(S * D);
    gated_mlp(normed(w.pre_ffn_norm, w.gate_up), S, w.gate_up, w.down, dense, ws);
    experts(sparse);
    norm_rows(w.post_ffn_norm_1, dense);
    norm_rows(w.post_ffn_norm_2, sparse);
    for (int64_t s = 0; s < S; ++s) {
      ops.add_scaled(1.0f, sparse + s * D, width, dense + s * D);
      ops.add_norm(dense + s * D, w.post_ffn_norm.data(), eps, width, x + s * D);
      ops.scale(scalar, width, x + s * D);
    }
  }

  /// The k best experts of every token with their weights, from the raw residual; rows grouped by expert.
  void route() {
    const int64_t E = config.num_experts, k = config.top_k_experts;
    const FactorRows t = normed(w.router_scale, w.router);
    float* p = ws.router.get(S * E);
    ops.scale(static_cast<float>(std::pow(static_cast<double>(D), -0.5)), static_cast<size_t>(S * D), t.f32);
    multiply(t, S, w.router, 0, p, E);
    ws.expert.resize(static_cast<size_t>(S * k));
    ws.weight.resize(static_cast<size_t>(S * k));
    for (int64_t s = 0; s < S; ++s) {
      float* row = p + s * E;
      ops.softmax(row, static_cast<size_t>(E), 1.0f, row);
      float sum = 0;
      for (int64_t slot = 0; slot < k; ++slot) {
        const auto best = std::max_element(row, row + E) - row;
        ws.expert[static_cast<size_t>(s * k + slot)] = static_cast<int32_t>(best);
        ws.weight[static_cast<size_t>(s * k + slot)] = row[best];
        sum += row[best];
        row[best] = -1;  // below every probability
      }
      for (int64_t slot = 0; slot < k; ++slot) {
        const auto i = static_cast<size_t>(s * k + slot);
        ws.weight[i] = ws.weight[i] / sum * w.per_expert_scale[static_cast<size_t>(ws.expert[i])];
      }
    }
    // Counting sort: place[i] is where routed row i stands among the grouped ones.
    ws.begin.assign(static_cast<size_t>(E) + 1, 0);
    for (int32_t e : ws.expert) ++ws.begin[static_cast<size_t>(e) + 1];
    std::partial_sum(ws.begin.begin(), ws.begin.end(), ws.begin.begin());
    ws.order.assign(ws.begin.begin(), ws.begin.end() - 1);
    ws.place.resize(ws.expert.size());
    for (size_t i = 0; i < ws.expert.size(); ++i) ws.place[i] = ws.order[static_cast<size_t>(ws.expert[i])]++;
  }

  /// out [S, D]: each token's experts, weighted and summed over its slots in order.
  void experts(float* out) {
    const int64_t E = config.num_experts, k = config.top_k_experts, M = config.moe_intermediate_size, R = S * k;
    const auto width = static_cast<size_t>(D);
    route();
    float *both = ws.both.get(R * 2 * M), *parts = ws.parts.get(R * D);
    const FactorRows h = normed(w.pre_ffn_norm_2, w.experts_gate_up), grouped = factor_rows(w.experts_gate_up, R, ws.grouped), inner = factor_rows(w.experts_down, R, ws.inner);
    for (int64_t i = 0; i < R; ++i) {
      const int64_t from = i / k * h.stride, to = ws.place[static_cast<size_t>(i)] * h.stride;
      if (h.bf16) std::copy_n(h.bf16 + from, D, grouped.bf16 + to);
      else std::copy_n(h.f32 + from, D, grouped.f32 + to);
    }
    for (int64_t e = 0; e < E; ++e) {
      const int64_t first = ws.begin[static_cast<size_t>(e)], rows = ws.begin[static_cast<size_t>(e) + 1] - first;
      if (rows == 0) continue;
      multiply(grouped.from(first), rows, w.experts_gate_up, e, both, 2 * M);
      for (int64_t r = 0; r < rows; ++r) inner.gelu_times(r, both + r * 2 * M, both + r * 2 * M + M, static_cast<size_t>(M));
      multiply(inner, rows, w.experts_down, e, parts + first * D, D);
    }
    std::fill_n(out, S * D, 0.0f);
    for (int64_t i = 0; i < R; ++i) ops.add_scaled(ws.weight[static_cast<size_t>(i)], parts + ws.place[static_cast<size_t>(i)] * D, width, out + i / k * D);
  }
};

}  // namespace

void FactorRows::norm(int64_t r, const float* x, const float* gain, float eps, size_t n) const {
  if (bf16) row_ops().rms_norm_bf16(x, gain, eps, n, bf16 + r * stride);
  else row_ops().rms_norm(x, gain, eps, n, f32 + r * stride);
}

void FactorRows::gelu_times(int64_t r, const float* gate, const float* up, size_t n) const {
  if (bf16) row_ops().gelu_times_bf16(gate, up, n, bf16 + r * stride);
  else row_ops().gelu_times(gate, up, n, f32 + r * stride);
}

FactorRows factor_rows(const LaidMatrix& w, int64_t rows, FactorMemory& memory) {
  if (!w.bf16) return {.f32 = memory.f32.get(rows * w.k), .stride = w.k};
  const int64_t stride = (w.k + 1) / 2 * 2;
  const FactorRows out{.bf16 = memory.bf16.get(rows * stride), .stride = stride};
  for (int64_t r = 0; stride > w.k && r < rows; ++r) out.bf16[r * stride + w.k] = 0;
  return out;
}

uint16_t* round_rows(const float* x, int64_t rows, int64_t k, int64_t& ld, CpuWorkspace& ws) {
  ld = (k + 1) / 2 * 2;
  uint16_t* out = ws.rounded.get(rows * ld);
  for (int64_t r = 0; r < rows; ++r) {
    row_ops().to_bf16(x + r * k, static_cast<size_t>(k), out + r * ld);
    if (ld > k) out[r * ld + k] = 0;
  }
  return out;
}

namespace {

void multiply_in_place(const FactorRows& x, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy) {
  for (const at::Tensor& part : w.in_place) {
    const int64_t n = part.size(-2), first = index * n * w.k;
    if (w.bf16) bf16_gemm_kernel().multiply({.m = rows, .n = n, .k = w.k, .a = x.bf16, .lda = x.stride, .b = static_cast<const uint16_t*>(part.const_data_ptr()) + first, .ldb = w.k, .transposed = true, .c = y, .ldc = ldy});
    else gemm_kernel().multiply({.m = rows, .n = n, .k = w.k, .a = x.f32, .lda = x.stride, .b = part.const_data_ptr<float>() + first, .ldb = w.k, .transposed = true, .c = y, .ldc = ldy});
    y += n;
  }
}

}  // namespace

void multiply(const FactorRows& x, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy) {
  if (!w.quantised.empty()) {
    for (const PackedMatrix& part : std::span(w.quantised).subspan(static_cast<size_t>(index) * w.parts, w.parts)) {
      multiply_packed(x.f32, x.stride, rows, part, y, ldy);
      y += part.rows;
    }
    return;
  }
  if (!w.data) return multiply_in_place(x, rows, w, index, y, ldy);
  const float* packed = w.data + index * w.stride;
  if (w.bf16) bf16_gemm_kernel().multiply({.m = rows, .n = w.n, .k = w.k, .a = x.bf16, .lda = x.stride, .transposed = true, .packed = packed, .c = y, .ldc = ldy});
  else gemm_kernel().multiply({.m = rows, .n = w.n, .k = w.k, .a = x.f32, .lda = x.stride, .transposed = true, .packed = packed, .c = y, .ldc = ldy});
}

void gated_mlp(const FactorRows& x, int64_t rows, const LaidMatrix& gate_up, const LaidMatrix& down, float* out, CpuWorkspace& ws) {
  const int64_t F = gate_up.n / 2;
  float* both = ws.both.get(rows * 2 * F);
  const FactorRows inner = factor_rows(down, rows, ws.inner);
  multiply(x, rows, gate_up, 0, both, 2 * F);
  for (int64_t r = 0; r < rows; ++r) inner.gelu_times(r, both + r * 2 * F, both + r * 2 * F + F, static_cast<size_t>(F));
  multiply(inner, rows, down, 0, out, down.n);
}

void decoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, const KvCache::Layer& cached, const float* cos, const float* sin) {
  if (cached.k.scalar_type() == at::kBFloat16) Layer<uint16_t>(forward, w, shape, cos, sin).decode(cached);
  else Layer<float>(forward, w, shape, cos, sin).decode(cached);
}

void encoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, GrowingKeys& keys, const float* cos, const float* sin) {
  if (keys.k.scalar_type() == at::kBFloat16) Layer<uint16_t>(forward, w, shape, cos, sin).encode(keys);
  else Layer<float>(forward, w, shape, cos, sin).encode(keys);
}

}  // namespace canvaslab
