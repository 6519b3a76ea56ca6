// The same order of operations as network.cpp, whose tensors train, run on GPUs and are what this is tested against. With bf16
// weights only the factors of products are rounded; all else stays in f32.
#include "core/network/cpu_layer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/kernels/row_ops.h"
#include "core/network/model_config.h"
#include "core/network/network.h"

namespace canvaslab {
namespace {

constexpr int64_t kCausalChunk = 64;   // causal queries attended at once: the more, the more keys are met in vain
constexpr int64_t kQueryChunk = 256;   // others

class Layer {
 public:
  Layer(const CpuForward& forward, const PackedLayer& weights, const LayerConfig& layer_shape, const float* cosines, const float* sines)
      : config(forward.config), S(forward.num_tokens), x(forward.x), ws(forward.ws), block(forward.block), w(weights), shape(layer_shape), cos(cosines), sin(sines) {}

  void decode(const KeyRows& cached) {
    project();
    const KeyRows fresh{.k = ws.qkv.data() + q_width(), .v = ws.qkv.data() + q_width() + kv_width(), .row_stride = row_width(), .head_stride = shape.head_dim, .count = S};
    ws.from.assign(static_cast<size_t>(S), 0);
    ws.to.assign(static_cast<size_t>(S), cached.count + S);
    attend({cached, fresh}, kQueryChunk);
    finish(w.decoder_scalar);
  }

  void encode(GrowingKeys& keys) {
    project();
    append(keys);
    const int64_t before = keys.filled - S, capacity = keys.k.size(1);
    const KeyRows all{.k = keys.k.const_data_ptr<float>(), .v = keys.v.const_data_ptr<float>(), .row_stride = shape.head_dim, .head_stride = capacity * shape.head_dim, .count = keys.filled};
    ws.from.resize(static_cast<size_t>(S));
    ws.to.resize(static_cast<size_t>(S));
    seen_keys(block, before, shape.sliding ? config.sliding_window : 0, ws.from, ws.to);
    attend({all, {}}, kCausalChunk);
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

  int64_t q_width() const { return config.num_heads * shape.head_dim; }
  int64_t kv_width() const { return shape.num_kv_heads * shape.head_dim; }
  int64_t row_width() const { return q_width() + 2 * kv_width(); }

  void norm_rows(const float* from, const std::vector<float>& gain, int64_t rows, float* to) const {
    for (int64_t r = 0; r < rows; ++r) ops.rms_norm(from + r * D, gain.data(), eps, static_cast<size_t>(D), to + r * D);
  }

  /// Rows of queries, keys and values [S, (H + 2 Hkv) * Dh]: products, norms, rotations.
  void project() {
    const int64_t H = config.num_heads, Hkv = shape.num_kv_heads, Dh = shape.head_dim, width = row_width();
    float *h = ws.normed.get(S * D), *rows = ws.qkv.get(S * width);
    norm_rows(x, w.input_norm, S, h);
    multiply(h, S, w.qkv, 0, rows, width, ws);
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
  }

  /// Copies the new keys and values behind those that are there; sliding layers first drop what no later query sees.
  void append(GrowingKeys& keys) const {
    const int64_t Dh = shape.head_dim, capacity = keys.k.size(1);
    float *k = keys.k.mutable_data_ptr<float>(), *v = keys.v.mutable_data_ptr<float>();
    if (keys.filled + S > capacity) {
      const int64_t kept = std::min(keys.filled, config.sliding_window - 1), dropped = keys.filled - kept;
      for (int64_t head = 0; head < shape.num_kv_heads; ++head)
        for (float* all : {k, v}) std::copy_n(all + (head * capacity + dropped) * Dh, kept * Dh, all + head * capacity * Dh);
      keys.filled = kept;
    }
    const float* fresh = ws.qkv.data() + q_width();
    for (int64_t head = 0; head < shape.num_kv_heads; ++head) {
      for (int64_t s = 0; s < S; ++s) {
        const float* from = fresh + s * row_width() + head * Dh;
        const int64_t to = (head * capacity + keys.filled + s) * Dh;
        std::copy_n(from, Dh, k + to);
        std::copy_n(from + kv_width(), Dh, v + to);
      }
    }
    keys.filled += S;
  }

  void attend(const std::array<KeyRows, 2>& keys, int64_t chunk) {
    canvaslab::attend({.num_queries = S, .num_heads = config.num_heads, .num_kv_heads = shape.num_kv_heads, .head_dim = shape.head_dim, .q = ws.qkv.data(), .q_stride = row_width(), .keys = keys,
                       .from = ws.from, .to = ws.to, .chunk = chunk, .out = ws.attended.get(S * q_width())},
                      ws.attention);
  }

  /// From the attended heads to the layer's end.
  void finish(float scalar) {
    const auto width = static_cast<size_t>(D);
    float* projected = ws.projected.get(S * D);
    multiply(ws.attended.data(), S, w.o, 0, projected, D, ws);
    for (int64_t s = 0; s < S; ++s) ops.add_norm(projected + s * D, w.post_attention_norm.data(), eps, width, x + s * D);
    float *h = ws.normed.get(S * D), *dense = ws.dense.get(S * D), *sparse = ws.sparse.get(S * D);
    norm_rows(x, w.pre_ffn_norm, S, h);
    gated_mlp(h, S, w.gate_up, w.down, dense, ws);
    experts(sparse);
    norm_rows(dense, w.post_ffn_norm_1, S, dense);
    norm_rows(sparse, w.post_ffn_norm_2, S, sparse);
    for (int64_t s = 0; s < S; ++s) {
      ops.add_scaled(1.0f, sparse + s * D, width, dense + s * D);
      ops.add_norm(dense + s * D, w.post_ffn_norm.data(), eps, width, x + s * D);
      ops.scale(scalar, width, x + s * D);
    }
  }

  /// The k best experts of every token with their weights, from the raw residual; rows grouped by expert.
  void route() {
    const int64_t E = config.num_experts, k = config.top_k_experts;
    float *t = ws.normed.get(S * D), *p = ws.router.get(S * E);
    norm_rows(x, w.router_scale, S, t);
    ops.scale(static_cast<float>(std::pow(static_cast<double>(D), -0.5)), static_cast<size_t>(S * D), t);
    multiply(t, S, w.router, 0, p, E, ws);
    ws.expert.resize(static_cast<size_t>(S * k));
    ws.weight.resize(static_cast<size_t>(S * k));
    for (int64_t s = 0; s < S; ++s) {
      float* row = p + s * E;
      ops.softmax(row, static_cast<size_t>(E), 1.0f);
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
    float *h = ws.normed.get(S * D), *grouped = ws.grouped.get(R * D), *both = ws.both.get(R * 2 * M), *inner = ws.inner.get(R * M), *parts = ws.parts.get(R * D);
    norm_rows(x, w.pre_ffn_norm_2, S, h);
    for (int64_t i = 0; i < R; ++i) std::copy_n(h + i / k * D, D, grouped + ws.place[static_cast<size_t>(i)] * D);
    for (int64_t e = 0; e < E; ++e) {
      const int64_t first = ws.begin[static_cast<size_t>(e)], rows = ws.begin[static_cast<size_t>(e) + 1] - first;
      if (rows == 0) continue;
      multiply(grouped + first * D, rows, w.experts_gate_up, e, both, 2 * M, ws);
      for (int64_t r = 0; r < rows; ++r) ops.gelu_times(both + r * 2 * M, both + r * 2 * M + M, static_cast<size_t>(M), inner + r * M);
      multiply(inner, rows, w.experts_down, e, parts + first * D, D, ws);
    }
    std::fill_n(out, S * D, 0.0f);
    for (int64_t i = 0; i < R; ++i) ops.add_scaled(ws.weight[static_cast<size_t>(i)], parts + ws.place[static_cast<size_t>(i)] * D, width, out + i / k * D);
  }
};

}  // namespace

const uint16_t* round_rows(const float* x, int64_t rows, int64_t k, int64_t& ld, CpuWorkspace& ws) {
  ld = (k + 1) / 2 * 2;
  uint16_t* out = ws.rounded.get(rows * ld);
  for (int64_t r = 0; r < rows; ++r) {
    row_ops().to_bf16(x + r * k, static_cast<size_t>(k), out + r * ld);
    if (ld > k) out[r * ld + k] = 0;
  }
  return out;
}

namespace {

void multiply_in_place(const float* x, const uint16_t* x16, int64_t ldx, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy) {
  for (const at::Tensor& part : w.in_place) {
    const int64_t n = part.size(-2), first = index * n * w.k;
    if (w.bf16) bf16_gemm_kernel().multiply({.m = rows, .n = n, .k = w.k, .a = x16, .lda = ldx, .b = static_cast<const uint16_t*>(part.const_data_ptr()) + first, .ldb = w.k, .transposed = true, .c = y, .ldc = ldy});
    else gemm_kernel().multiply({.m = rows, .n = n, .k = w.k, .a = x, .lda = ldx, .b = part.const_data_ptr<float>() + first, .ldb = w.k, .transposed = true, .c = y, .ldc = ldy});
    y += n;
  }
}

}  // namespace

void multiply(const float* x, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy, CpuWorkspace& ws) {
  if (!w.quantised.empty()) {
    for (const PackedMatrix& part : std::span(w.quantised).subspan(static_cast<size_t>(index) * w.parts, w.parts)) {
      multiply_packed(x, w.k, rows, part, y, ldy);
      y += part.rows;
    }
    return;
  }
  int64_t ld = w.k;
  const uint16_t* x16 = w.bf16 ? round_rows(x, rows, w.k, ld, ws) : nullptr;
  if (!w.data) return multiply_in_place(x, x16, ld, rows, w, index, y, ldy);
  const float* packed = w.data + index * w.stride;
  if (w.bf16) bf16_gemm_kernel().multiply({.m = rows, .n = w.n, .k = w.k, .a = x16, .lda = ld, .transposed = true, .packed = packed, .c = y, .ldc = ldy});
  else gemm_kernel().multiply({.m = rows, .n = w.n, .k = w.k, .a = x, .lda = ld, .transposed = true, .packed = packed, .c = y, .ldc = ldy});
}

void gated_mlp(const float* x, int64_t rows, const LaidMatrix& gate_up, const LaidMatrix& down, float* out, CpuWorkspace& ws) {
  const int64_t F = gate_up.n / 2;
  float *both = ws.both.get(rows * 2 * F), *inner = ws.inner.get(rows * F);
  multiply(x, rows, gate_up, 0, both, 2 * F, ws);
  for (int64_t r = 0; r < rows; ++r) row_ops().gelu_times(both + r * 2 * F, both + r * 2 * F + F, static_cast<size_t>(F), inner + r * F);
  multiply(inner, rows, down, 0, out, down.n, ws);
}

void decoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, const KeyRows& cached, const float* cos, const float* sin) {
  Layer(forward, w, shape, cos, sin).decode(cached);
}

void encoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, GrowingKeys& keys, const float* cos, const float* sin) {
  Layer(forward, w, shape, cos, sin).encode(keys);
}

}  // namespace canvaslab
