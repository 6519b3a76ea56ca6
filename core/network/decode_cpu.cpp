// Both forwards in f32 on the CPU without tensors: own matrix products on buffers that stay, row-wise loops between
// them. The same weights, order of operations and rounding points as network.cpp, whose tensor path trains, runs on GPUs
// and in bf16, and is what this one is tested against.
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "core/kernels/gemm.h"
#include "core/kernels/row_ops.h"
#include "core/network/network.h"

namespace canvaslab {
namespace {

/// c [m, n] = a [m, k] w[n, k]^T; rows lda, ldw, ldc apart.
void product_t(const float* a, int64_t lda, const float* w, int64_t ldw, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k) {
  gemm_kernel().multiply({.m = m, .n = n, .k = k, .a = a, .lda = lda, .b = w, .ldb = ldw, .transposed = true, .c = c, .ldc = ldc});
}
/// c [m, n] = a [m, k] b[k, n] (+ c)
void product(const float* a, int64_t lda, const float* b, int64_t ldb, bool accumulate, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k) {
  gemm_kernel().multiply({.m = m, .n = n, .k = k, .a = a, .lda = lda, .b = b, .ldb = ldb, .c = c, .ldc = ldc, .accumulate = accumulate});
}
void linear(const float* x, const at::Tensor& w, float* y, int64_t rows) {
  const int64_t n = w.size(0), k = w.size(1);
  product_t(x, k, w.const_data_ptr<float>(), k, y, n, rows, n, k);
}
const float* data(const at::Tensor& t) { return t.const_data_ptr<float>(); }

/// Floats that are only written before they are read, on a cache line's border.
class Buffer {
 public:
  float* get(int64_t count) {
    if (count > size_) {
      memory_.reset(static_cast<float*>(std::aligned_alloc(64, (static_cast<size_t>(count) * sizeof(float) + 63) / 64 * 64)));
      if (!memory_) throw std::bad_alloc();
      size_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  int64_t size_ = 0;
};

constexpr int64_t kQueryChunk = 64;  // causal queries attended at once

/// One thread's buffers, kept from call to call.
struct Workspace {
  Buffer x, normed, q, k, v, scores, attended, projected, gate, up, dense, sparse, router, grouped, hidden, parts, feedback;
  std::vector<int32_t> expert, order, place, begin;
  std::vector<float> weight;
};
thread_local Workspace workspace;

}  // namespace

/// One layer of one forward.
struct Network::CpuLayer {
  const Network& net;
  const LayerWeights& w;
  const LayerConfig& shape;
  const KvCache::Layer& cached;
  const float* cos;   // [S, Dh], both halves of a row alike
  const float* sin;
  int64_t S;
  float* x;           // [S, D] residual, updated
  KvCache::Layer* append = nullptr;  // encoding: causal, and where keys and values go
  const RowOps& ops = row_ops();
  Workspace& ws = workspace;
  const int64_t D = net.config_.hidden_size;
  const float eps = static_cast<float>(net.config_.rms_norm_eps);

  void norm_rows(const float* from, const float* gain, int64_t rows, int64_t width, float* to) const {
    for (int64_t r = 0; r < rows; ++r) ops.rms_norm(from + r * width, gain, eps, static_cast<size_t>(width), to + r * width);
  }

  /// Heads of q or k: normed, then turned.
  void norm_and_rotate(float* heads, const at::Tensor& gain, int64_t num_heads) const {
    const int64_t Dh = shape.head_dim;
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < num_heads; ++h) {
        float* head = heads + (s * num_heads + h) * Dh;
        ops.rms_norm(head, data(gain), eps, static_cast<size_t>(Dh), head);
        ops.rotate(head, cos + s * Dh, sin + s * Dh, static_cast<size_t>(Dh / 2));
      }
    }
  }

  /// The first of the combined keys that query s sees.
  int64_t first_seen(int64_t s) const {
    return append && shape.sliding ? std::max<int64_t>(0, cached.k.size(1) + s - net.config_.sliding_window + 1) : 0;
  }

  /// Queries [begin, end) of one head on combined keys [first, last).
  void attend(int64_t head, int64_t begin, int64_t end, int64_t first, int64_t last) const {
    const int64_t H = net.config_.num_heads, Hkv = shape.num_kv_heads, Dh = shape.head_dim, P = cached.k.size(1);
    const int64_t kv = head * Hkv / H, n = end - begin, width = last - first, old = std::max<int64_t>(0, std::min(P, last) - first), fresh = std::max(first, P) - P;
    const float *old_k = data(cached.k) + (kv * P + first) * Dh, *old_v = data(cached.v) + (kv * P + first) * Dh;
    const float *new_k = ws.k.get(0) + (fresh * Hkv + kv) * Dh, *new_v = ws.v.get(0) + (fresh * Hkv + kv) * Dh, *q = ws.q.get(0) + (begin * H + head) * Dh;
    float *scores = ws.scores.get(n * width), *out = ws.attended.get(0) + (begin * H + head) * Dh;
    product_t(q, H * Dh, old_k, Dh, scores, width, n, old, Dh);
    product_t(q, H * Dh, new_k, Hkv * Dh, scores + old, width, n, width - old, Dh);
    for (int64_t s = begin; s < end; ++s) {
      float* row = scores + (s - begin) * width;
      const int64_t from = first_seen(s) - first, to = append ? P + s + 1 - first : width;
      std::fill(row, row + from, 0.0f);
      std::fill(row + to, row + width, 0.0f);
      ops.softmax(row + from, static_cast<size_t>(to - from), 1.0f);
    }
    product(scores + old, width, new_v, Hkv * Dh, false, out, H * Dh, n, Dh, width - old);
    if (old > 0) product(scores, width, old_v, Dh, true, out, H * Dh, n, Dh, old);
  }

  /// Appends keys and values [S, Hkv * Dh] to the cache's copy; sliding layers keep what a later query can see.
  void keep(float* k, float* v) const {
    const auto joined = [&](const at::Tensor& old, float* fresh) {
      const auto all = at::cat({old, at::from_blob(fresh, {S, shape.num_kv_heads, shape.head_dim}, at::kFloat).transpose(0, 1)}, 1);
      const int64_t total = all.size(1), kept = shape.sliding ? std::min(total, net.config_.sliding_window - 1) : total;
      return all.slice(1, total - kept, total).contiguous();
    };
    *append = {joined(cached.k, k), joined(cached.v, v)};
  }

  void attention() const {
    const int64_t H = net.config_.num_heads, Hkv = shape.num_kv_heads, Dh = shape.head_dim, P = cached.k.size(1), all = P + S;
    float* h = ws.normed.get(S * D);
    norm_rows(x, data(w.input_norm), S, D, h);
    float *q = ws.q.get(S * H * Dh), *k = ws.k.get(S * Hkv * Dh), *v = ws.v.get(S * Hkv * Dh);
    linear(h, w.q_proj, q, S);
    linear(h, w.k_proj, k, S);
    if (w.v_proj.defined()) linear(h, w.v_proj, v, S);
    norm_rows(w.v_proj.defined() ? v : k, nullptr, S * Hkv, Dh, v);
    norm_and_rotate(q, w.q_norm, H);
    norm_and_rotate(k, w.k_norm, Hkv);
    float* out = ws.attended.get(S * H * Dh);
    // Combined keys: the cached ones, then those of the new tokens. Causal queries go in chunks, which need fewer of them.
    const int64_t chunk = append ? kQueryChunk : S;
    for (int64_t begin = 0; begin < S; begin += chunk) {
      const int64_t end = std::min(S, begin + chunk);
      for (int64_t head = 0; head < H; ++head) attend(head, begin, end, first_seen(begin), append ? P + end : all);
    }
    if (append) keep(k, v);
    float* projected = ws.projected.get(S * D);
    linear(out, w.o_proj, projected, S);
    for (int64_t s = 0; s < S; ++s) ops.add_norm(projected + s * D, data(w.post_attention_norm), eps, static_cast<size_t>(D), x + s * D);
  }

  /// The k best experts of every token with their weights, from the raw residual; rows grouped by expert.
  void route() const {
    const int64_t E = net.config_.num_experts, k = net.config_.top_k_experts;
    float *t = ws.normed.get(S * D), *p = ws.router.get(S * E);
    norm_rows(x, nullptr, S, D, t);
    const float factor = static_cast<float>(std::pow(static_cast<double>(D), -0.5));
    const float* scale = data(w.router_scale);
    for (int64_t s = 0; s < S; ++s)
      for (int64_t d = 0; d < D; ++d) t[s * D + d] = t[s * D + d] * scale[d] * factor;
    linear(t, w.router_proj, p, S);
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
        ws.weight[i] = ws.weight[i] / sum * data(w.per_expert_scale)[ws.expert[i]];
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
  void experts(float* out) const {
    const int64_t E = net.config_.num_experts, k = net.config_.top_k_experts, M = net.config_.moe_intermediate_size, R = S * k;
    route();
    float *h = ws.normed.get(S * D), *grouped = ws.grouped.get(R * D), *both = ws.hidden.get(R * 2 * M), *parts = ws.parts.get(R * D);
    norm_rows(x, data(w.pre_ffn_norm_2), S, D, h);
    for (int64_t i = 0; i < R; ++i) std::copy_n(h + i / k * D, D, grouped + ws.place[static_cast<size_t>(i)] * D);
    for (int64_t e = 0; e < E; ++e) {
      const int64_t first = ws.begin[static_cast<size_t>(e)], rows = ws.begin[static_cast<size_t>(e) + 1] - first;
      product_t(grouped + first * D, D, data(w.experts_gate_up) + e * 2 * M * D, D, both + first * 2 * M, 2 * M, rows, 2 * M, D);
      for (int64_t r = first; r < first + rows; ++r) ops.gelu_times(both + r * 2 * M, both + r * 2 * M + M, static_cast<size_t>(M), both + r * 2 * M);
      product_t(both + first * 2 * M, 2 * M, data(w.experts_down) + e * D * M, M, parts + first * D, D, rows, D, M);
    }
    std::fill_n(out, S * D, 0.0f);
    for (int64_t i = 0; i < R; ++i)
      ops.add_scaled(ws.weight[static_cast<size_t>(i)], parts + ws.place[static_cast<size_t>(i)] * D, static_cast<size_t>(D), out + i / k * D);
  }

  void feed_forward() const {
    float *h = ws.normed.get(S * D), *dense = ws.dense.get(S * D), *sparse = ws.sparse.get(S * D);
    norm_rows(x, data(w.pre_ffn_norm), S, D, h);
    net.cpu_gated_mlp(h, w.gate_proj, w.up_proj, w.down_proj, S, dense);
    experts(sparse);
    norm_rows(dense, data(w.post_ffn_norm_1), S, D, dense);
    norm_rows(sparse, data(w.post_ffn_norm_2), S, D, sparse);
    const float scalar = *data(append ? w.encoder_scalar : w.decoder_scalar);
    for (int64_t s = 0; s < S; ++s) {
      ops.add_scaled(1.0f, sparse + s * D, static_cast<size_t>(D), dense + s * D);
      ops.add_norm(dense + s * D, data(w.post_ffn_norm), eps, static_cast<size_t>(D), x + s * D);
    }
    for (int64_t i = 0; i < S * D; ++i) x[i] *= scalar;
  }
};

void Network::cpu_gated_mlp(const float* x, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down, int64_t rows, float* out) const {
  const int64_t F = gate.size(0);
  float *g = workspace.gate.get(rows * F), *u = workspace.up.get(rows * F);
  linear(x, gate, g, rows);
  linear(x, up, u, rows);
  row_ops().gelu_times(g, u, static_cast<size_t>(rows * F), g);
  linear(g, down, out, rows);
}

bool Network::has_cpu_path() const { return dtype() == at::kFloat && device().is_cpu(); }

void Network::fill_tables(RopeTables& tables, int64_t first, int64_t count) const {
  if (tables.first == first && tables.count == count) return;
  std::tie(tables.sliding_cos, tables.sliding_sin) = rope_tables(true, first, count);
  std::tie(tables.full_cos, tables.full_sin) = rope_tables(false, first, count);
  tables.first = first;
  tables.count = count;
}

at::Tensor Network::encode_cpu(const at::Tensor& ids, KvCache& cache, bool want_hidden) const {
  const int64_t S = ids.size(0), D = config_.hidden_size;
  const float scale = *data(embedding_scale_);
  float* x = workspace.x.get(S * D);
  for (int64_t s = 0; s < S; ++s) {
    const int64_t id = ids.const_data_ptr<int64_t>()[s];
    const float* row = data(embedding_) + (id == config_.image_token_id ? config_.pad_token_id : id) * D;
    for (int64_t d = 0; d < D; ++d) x[s * D + d] = row[d] * scale;
  }
  RopeTables tables;
  fill_tables(tables, cache.length, S);
  KvCache next = cache;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool sliding = config_.layers[i].sliding;
    const CpuLayer layer{.net = *this, .w = encoder_layer(i), .shape = config_.layers[i], .cached = cache.layers[i],
                         .cos = data(sliding ? tables.sliding_cos : tables.full_cos), .sin = data(sliding ? tables.sliding_sin : tables.full_sin), .S = S, .x = x, .append = &next.layers[i]};
    layer.attention();
    layer.feed_forward();
  }
  next.length = cache.length + S;
  cache = std::move(next);
  if (!want_hidden) return {};
  auto hidden = at::empty({S, D});
  for (int64_t s = 0; s < S; ++s)
    row_ops().rms_norm(x + s * D, data(final_norm_), static_cast<float>(config_.rms_norm_eps), static_cast<size_t>(D), hidden.mutable_data_ptr<float>() + s * D);
  return hidden;
}

void Network::decode_cpu(std::span<const int32_t> canvas, const KvCache& cache, const float* feedback, float feedback_temperature, RopeTables& tables, float* logits) const {
  const int64_t S = static_cast<int64_t>(canvas.size()), D = config_.hidden_size, V = config_.vocab_size;
  const float eps = static_cast<float>(config_.rms_norm_eps), scale = *data(embedding_scale_);
  const RowOps& ops = row_ops();
  Workspace& ws = workspace;
  float* x = ws.x.get(S * D);
  for (int64_t s = 0; s < S; ++s) {
    const float* row = data(embedding_) + canvas[static_cast<size_t>(s)] * D;
    for (int64_t d = 0; d < D; ++d) x[s * D + d] = row[d] * scale;
  }
  if (feedback) {
    float *p = ws.feedback.get(S * V), *soft = ws.projected.get(S * D);
    std::copy_n(feedback, S * V, p);
    for (int64_t s = 0; s < S; ++s) ops.softmax(p + s * V, static_cast<size_t>(V), 1.0f / feedback_temperature);
    product(p, V, data(embedding_), D, false, soft, D, S, D, V);
    for (int64_t i = 0; i < S * D; ++i) soft[i] *= scale;
    for (int64_t s = 0; s < S; ++s) ops.rms_norm(soft + s * D, data(sc_pre_norm_), eps, static_cast<size_t>(D), soft + s * D);
    float* signal = ws.dense.get(S * D);
    cpu_gated_mlp(soft, sc_gate_, sc_up_, sc_down_, S, signal);
    ops.add_scaled(1.0f, signal, static_cast<size_t>(S * D), x);
  }
  for (int64_t s = 0; s < S; ++s) ops.rms_norm(x + s * D, nullptr, eps, static_cast<size_t>(D), x + s * D);
  fill_tables(tables, cache.length, S);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool sliding = config_.layers[i].sliding;
    const CpuLayer layer{.net = *this, .w = layers_[i], .shape = config_.layers[i], .cached = cache.layers[i],
                         .cos = data(sliding ? tables.sliding_cos : tables.full_cos), .sin = data(sliding ? tables.sliding_sin : tables.full_sin), .S = S, .x = x};
    layer.attention();
    layer.feed_forward();
  }
  float* h = ws.normed.get(S * D);
  for (int64_t s = 0; s < S; ++s) ops.rms_norm(x + s * D, data(final_norm_), eps, static_cast<size_t>(D), h + s * D);
  linear(h, lm_head_, logits, S);
  ops.soft_cap(logits, static_cast<size_t>(S * V), static_cast<float>(config_.final_logit_softcapping));
}

}  // namespace canvaslab
