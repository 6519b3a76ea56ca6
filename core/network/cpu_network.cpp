#include "core/network/cpu_network.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <tuple>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/kernels/row_ops.h"
#include "core/network/cpu_layer.h"

namespace canvaslab {
namespace {

constexpr int64_t kPiece = 512;                   // tokens encoded at once
constexpr int64_t kHeadFloats = int64_t{1} << 22; // of logits made at once
constexpr float kDroppedMass = 0x1p-24f;          // of a row, left out of the soft embedding: below its rounding
constexpr float kDroppedMassBf16 = 0x1p-12f;      // where probabilities are rounded by sixteen times as much
constexpr int64_t kSparse = 16;                   // rows with fewer than V / 16 tokens that count are summed one by one

thread_local CpuWorkspace workspace;

const float* data(const at::Tensor& t) { return t.const_data_ptr<float>(); }
const uint16_t* bits(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

}  // namespace

bool CpuNetwork::serves(const Network& network) { return network.device().is_cpu() && (network.dtype() == at::kFloat || network.dtype() == at::kBFloat16); }

CpuNetwork::CpuNetwork(Network network, int64_t most_packed) : network_(std::move(network)), bf16_(network_.dtype() == at::kBFloat16) {
  final_norm_ = to_f32_vector(network_.final_norm_);
  sc_pre_norm_ = to_f32_vector(network_.sc_pre_norm_);
  embedding_scale_ = to_f32_vector(network_.embedding_scale_).front();
  network_.parameters_.clear();
  conditioning_ = PackedMlp(network_.sc_gate_, network_.sc_up_, network_.sc_down_);
  for (auto* tensor : {&network_.sc_gate_, &network_.sc_up_, &network_.sc_down_}) *tensor = at::Tensor();
  layers_ = PackedLayers(std::move(network_.layers_), std::move(network_.encoder_layers_), std::move(network_.packed_), most_packed);
}

KvCache CpuNetwork::empty_cache(int64_t left_padding) const {
  KvCache cache;
  cache.length = cache.padding = left_padding;
  for (const auto& shape : config().layers) {
    const auto nothing = at::empty({shape.num_kv_heads, 0, shape.head_dim}, bf16_ ? at::kBFloat16 : at::kFloat);
    cache.layers.push_back({nothing, nothing});
  }
  return cache;
}

void CpuNetwork::embed(int64_t id, float* x) const {
  const int64_t D = config().hidden_size;
  if (bf16_) {
    row_ops().scaled_bf16(embedding_scale_, bits(network_.embedding_) + id * D, static_cast<size_t>(D), x);
  } else {
    std::copy_n(data(network_.embedding_) + id * D, D, x);
    row_ops().scale(embedding_scale_, static_cast<size_t>(D), x);
  }
}

void CpuNetwork::fill_tables(RopeTables& tables, int64_t first, int64_t count) const {
  if (tables.first == first && tables.count == count) return;
  std::tie(tables.sliding_cos, tables.sliding_sin) = network_.rope_tables(true, first, count, at::kFloat);
  std::tie(tables.full_cos, tables.full_sin) = network_.rope_tables(false, first, count, at::kFloat);
  tables.first = first;
  tables.count = count;
}

std::vector<GrowingKeys> CpuNetwork::growing_keys(const KvCache& cache, const std::vector<Piece>& pieces, int64_t num_tokens) const {
  int64_t longest = 0;
  for (const auto& piece : pieces) longest = std::max(longest, piece.end - piece.begin);
  std::vector<GrowingKeys> out;
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const auto& old = cache.layers[i];
    const LayerConfig& shape = config().layers[i];
    const int64_t filled = old.k.size(1), all = filled + num_tokens;
    // Sliding layers hold what the window still shows and one piece, with room to move seldom.
    const int64_t capacity = shape.sliding ? std::min(all, config().sliding_window - 1 + 4 * longest) : all;
    GrowingKeys keys{.k = at::empty({shape.num_kv_heads, capacity, shape.head_dim}, old.k.scalar_type()), .v = {}, .filled = filled};
    keys.v = at::empty_like(keys.k);
    keys.k.slice(1, 0, filled).copy_(old.k);
    keys.v.slice(1, 0, filled).copy_(old.v);
    out.push_back(std::move(keys));
  }
  return out;
}

void CpuNetwork::encode(std::span<const int32_t> ids, const std::vector<uint8_t>& token_types, KvCache& cache, float* hidden) const {
  const int64_t S = static_cast<int64_t>(ids.size()), D = config().hidden_size;
  if (S == 0) return;
  const auto block = vision_blocks(token_types);
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin < S; begin = pieces.back().end) {
    pieces.push_back({begin, piece_end(block, begin, S, kPiece)});
  }
  auto keys = growing_keys(cache, pieces, S);
  for (const Piece& piece : pieces) {
    const int64_t count = piece.end - piece.begin;
    float* x = workspace.x.get(count * D);
    for (int64_t s = 0; s < count; ++s) {
      const int64_t id = ids[static_cast<size_t>(piece.begin + s)];
      embed(id == config().image_token_id ? config().pad_token_id : id, x + s * D);
    }
    RopeTables tables;
    fill_tables(tables, cache.length + piece.begin, count);
    const CpuForward forward{.config = config(), .num_tokens = count, .x = x, .ws = workspace,
                             .block = block.empty() ? std::span<const int64_t>() : std::span(block).subspan(static_cast<size_t>(piece.begin), static_cast<size_t>(count))};
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerConfig& shape = config().layers[i];
      encoder_layer(forward, layers_.encoder(i), shape, keys[i], data(shape.sliding ? tables.sliding_cos : tables.full_cos), data(shape.sliding ? tables.sliding_sin : tables.full_sin));
    }
    for (int64_t s = 0; hidden && s < count; ++s)
      row_ops().rms_norm(x + s * D, final_norm_.data(), static_cast<float>(config().rms_norm_eps), static_cast<size_t>(D), hidden + (piece.begin + s) * D);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const int64_t filled = keys[i].filled, kept = config().layers[i].sliding ? std::min(filled, config().sliding_window - 1) : filled;
    cache.layers[i] = {keys[i].k.slice(1, filled - kept, filled).contiguous(), keys[i].v.slice(1, filled - kept, filled).contiguous()};
    keys[i] = {};
  }
  cache.length += S;
}

void CpuNetwork::decode(std::span<const int32_t> canvas, const KvCache& cache, const float* soft, RopeTables& tables, float* hidden) const {
  const int64_t L = static_cast<int64_t>(canvas.size()), D = config().hidden_size;
  const auto width = static_cast<size_t>(D);
  const float eps = static_cast<float>(config().rms_norm_eps);
  const RowOps& ops = row_ops();
  CpuWorkspace& ws = workspace;
  float* x = ws.x.get(L * D);
  for (int64_t s = 0; s < L; ++s) embed(canvas[static_cast<size_t>(s)], x + s * D);
  if (soft) {
    const FactorRows normed = factor_rows(conditioning_.gate_up, L, ws.normed);
    float* signal = ws.dense.get(L * D);
    for (int64_t s = 0; s < L; ++s) normed.norm(s, soft + s * D, sc_pre_norm_.data(), eps, width);
    gated_mlp(normed, L, conditioning_.gate_up, conditioning_.down, signal, ws);
    ops.add_scaled(1.0f, signal, static_cast<size_t>(L * D), x);
  }
  for (int64_t s = 0; s < L; ++s) ops.rms_norm(x + s * D, nullptr, eps, width, x + s * D);
  fill_tables(tables, cache.length, L);
  const CpuForward forward{.config = config(), .num_tokens = L, .x = x, .ws = ws};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerConfig& shape = config().layers[i];
    decoder_layer(forward, layers_.decoder(i), shape, cache.layers[i], data(shape.sliding ? tables.sliding_cos : tables.full_cos), data(shape.sliding ? tables.sliding_sin : tables.full_sin));
  }
  for (int64_t s = 0; s < L; ++s) ops.rms_norm(x + s * D, final_norm_.data(), eps, width, hidden + s * D);
}

int64_t CpuNetwork::head_rows() const { return std::max<int64_t>(64, kHeadFloats / config().vocab_size); }

void CpuNetwork::head(const float* hidden, int64_t rows, float* logits) const {
  const int64_t D = config().hidden_size, V = config().vocab_size;
  if (bf16_) {
    int64_t ld = 0;
    const uint16_t* a = round_rows(hidden, rows, D, ld, workspace);
    bf16_gemm_kernel().multiply({.m = rows, .n = V, .k = D, .a = a, .lda = ld, .b = bits(network_.lm_head_), .ldb = D, .transposed = true, .c = logits, .ldc = V});
  } else {
    gemm_kernel().multiply({.m = rows, .n = V, .k = D, .a = hidden, .lda = D, .b = data(network_.lm_head_), .ldb = D, .transposed = true, .c = logits, .ldc = V});
  }
  row_ops().soft_cap(logits, static_cast<size_t>(rows * V), static_cast<float>(config().final_logit_softcapping));
}

void CpuNetwork::soft_embedding(const float* logits, int64_t rows, float temperature, float* soft) const {
  const int64_t D = config().hidden_size, V = config().vocab_size;
  const auto width = static_cast<size_t>(D), tokens = static_cast<size_t>(V), most = static_cast<size_t>(std::max<int64_t>(8, V / kSparse));
  const RowOps& ops = row_ops();
  CpuWorkspace& ws = workspace;
  const float least = (bf16_ ? kDroppedMassBf16 : kDroppedMass) / static_cast<float>(V);
  const int64_t stride = (V + 1) / 2 * 2;
  // Rows that many tokens share, one after another: probabilities in f32, or rounded as soon as they are known.
  float* dense = ws.probabilities.get(bf16_ ? V : rows * V);
  uint16_t* rounded = bf16_ ? ws.rounded.get(rows * stride) : nullptr;
  ws.picked.resize(most + 1);
  ws.expert.clear();                              // which they are
  for (int64_t r = 0; r < rows; ++r) {
    const auto before = static_cast<int64_t>(ws.expert.size());
    float *p = bf16_ ? dense : dense + before * V, *out = soft + r * D;
    ops.softmax(logits + r * V, tokens, 1.0f / temperature, p);
    const size_t count = ops.pick(p, tokens, least, most, ws.picked.data());
    if (count > most) {
      ws.expert.push_back(static_cast<int32_t>(r));
      if (!bf16_) continue;
      ops.to_bf16(p, tokens, rounded + before * stride);
      if (stride > V) rounded[before * stride + V] = 0;
      continue;
    }
    std::fill_n(out, D, 0.0f);
    for (size_t i = 0; i < count; ++i) {
      const int64_t token = ws.picked[i];
      if (bf16_) ops.add_scaled_bf16(p[token], bits(network_.embedding_) + token * D, width, out);
      else ops.add_scaled(p[token], data(network_.embedding_) + token * D, width, out);
    }
  }
  const auto count = static_cast<int64_t>(ws.expert.size());
  float* product = ws.projected.get(count * D);
  if (bf16_) bf16_gemm_kernel().multiply({.m = count, .n = D, .k = V, .a = rounded, .lda = stride, .b = bits(network_.embedding_), .ldb = D, .c = product, .ldc = D});
  else gemm_kernel().multiply({.m = count, .n = D, .k = V, .a = dense, .lda = V, .b = data(network_.embedding_), .ldb = D, .c = product, .ldc = D});
  for (int64_t i = 0; i < count; ++i) std::copy_n(product + i * D, D, soft + ws.expert[static_cast<size_t>(i)] * D);
  ops.scale(embedding_scale_, static_cast<size_t>(rows * D), soft);
}

}  // namespace canvaslab
