#include "core/network/packed_layers.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/network/network.h"
#include "core/network/packed_weights.h"
#include "core/network/safetensors.h"

namespace canvaslab {
namespace {

constexpr int64_t kLine = 16;  // floats of a cache line: where matrices begin

int64_t packed_size(int64_t n, int64_t k, bool bf16) {
  const int64_t size = bf16 ? bf16_gemm_kernel().packed_size(n, k) : gemm_kernel().packed_size(n, k);
  return (size + kLine - 1) / kLine * kLine;
}

void pack_matrix(const at::Tensor& w, float* out) {
  const int64_t n = w.size(0), k = w.size(1);
  if (w.scalar_type() == at::kBFloat16)
    bf16_gemm_kernel().pack({.n = n, .k = k, .b = static_cast<const uint16_t*>(w.const_data_ptr()), .ldb = k, .transposed = true}, out);
  else
    gemm_kernel().pack({.n = n, .k = k, .b = w.const_data_ptr<float>(), .ldb = k, .transposed = true}, out);
}

/// Calls work(i) for all i below count on as many threads as there are cores: loading waits for memory, not for arithmetic.
template <typename Work>
void in_parallel(int64_t count, Work work) {
  std::atomic<int64_t> next = 0;
  const auto loop = [&] {
    for (int64_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  for (int64_t t = 1; t < std::min<int64_t>(count, std::thread::hardware_concurrency()); ++t) others.emplace_back(loop);
  loop();
}

}  // namespace

std::vector<float> to_f32_vector(const at::Tensor& tensor) {
  const auto flat = tensor.detach().to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

PackedMlp::PackedMlp(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down_proj) {
  const bool bf16 = gate.scalar_type() == at::kBFloat16;
  const int64_t F = gate.size(0), D = gate.size(1), first = packed_size(2 * F, D, bf16);
  float* at = memory.get(first + packed_size(D, F, bf16));
  pack_matrix(at::cat({gate, up}, 0), at);
  pack_matrix(down_proj, at + first);
  gate_up = {.data = at, .n = 2 * F, .k = D, .stride = first, .bf16 = bf16};
  down = {.data = at + first, .n = D, .k = F, .stride = 0, .bf16 = bf16};
}

PackedLayers::PackedLayers(std::vector<LayerWeights> decoder, std::vector<LayerWeights> encoder, QuantisedByPlace quantised, int64_t most_bytes) : quantised_(std::move(quantised)) {
  for (const auto* layers : {&decoder, &encoder})
    for (const auto& w : *layers) pack(w);
  in_place_ = floats_ * static_cast<int64_t>(sizeof(float)) > most_bytes;
  if (in_place_) {  // what is laid out all the same: the routers
    floats_ = 0;
    placed_.clear();
    for (const auto* layers : {&decoder, &encoder})
      for (const auto& w : *layers) pack(w);
  }
  memory_.get(floats_);
  counting_ = false;
  floats_ = 0;
  placed_.clear();
  for (size_t i = 0; i < decoder.size(); ++i) {
    decoder_.push_back(pack(decoder[i]));
    if (!encoder.empty()) encoder_.push_back(pack(encoder[i]));
    decoder[i] = {};
    if (!encoder.empty()) encoder[i] = {};
    placed_.clear();  // by address: these may now be others'
  }
}

LaidMatrix PackedLayers::place(const std::vector<at::Tensor>& parts, bool in_f32) {
  std::vector<const void*> key;
  for (const auto& part : parts) key.push_back(part.unsafeGetTensorImpl());
  if (const auto found = placed_.find(key); found != placed_.end()) return found->second;
  if (std::any_of(parts.begin(), parts.end(), [](const at::Tensor& part) { return part.is_meta(); })) return placed_[key] = view(parts);
  const at::Tensor& first = parts.front();
  const bool several = first.dim() == 3;
  const int64_t count = several ? first.size(0) : 1;
  LaidMatrix out{.data = memory_.data() + floats_, .n = 0, .k = first.size(-1), .stride = 0, .bf16 = first.scalar_type() == at::kBFloat16 && !in_f32};
  for (const auto& part : parts) out.n += part.size(-2);
  if (in_place_ && !in_f32) {
    out.data = nullptr;
    if (counting_) return out;
    for (const auto& part : parts) {
      read_pages(part);
      out.in_place.push_back(part.contiguous());
    }
    return out;
  }
  out.stride = packed_size(out.n, out.k, out.bf16);
  float* to = memory_.data() + floats_;
  if (!counting_) {
    in_parallel(count, [&](int64_t e) {
      auto matrix = several ? first.select(0, e) : parts.size() > 1 ? at::cat(parts, 0) : first;
      if (in_f32) matrix = matrix.to(at::kFloat);
      pack_matrix(matrix.contiguous(), to + e * out.stride);
      if (several) drop_pages(first.select(0, e));  // else both copies of all experts would be there at once
    });
    for (const auto& part : parts) drop_pages(part);
  }
  floats_ += count * out.stride;
  placed_[key] = out;
  return out;
}

/// The same of quantised weights: nothing is laid out.
LaidMatrix PackedLayers::view(const std::vector<at::Tensor>& parts) {
  LaidMatrix out{.data = nullptr, .n = 0, .k = parts.front().size(-1), .stride = 0, .bf16 = false};
  for (const auto& part : parts) {
    out.n += part.size(-2);
    if (part.is_meta()) {
      const PackedWeight& weight = *quantised_.at(part.unsafeGetTensorImpl());
      out.quantised.insert(out.quantised.end(), weight.parts.begin(), weight.parts.end());
      out.parts += part.dim() == 3 ? weight.parts_per_expert : weight.parts.size();
    } else {
      const at::Tensor& plain = kept_.emplace_back(part.contiguous());
      out.quantised.push_back({.packing = Packing::kF32, .rows = part.size(0), .columns = part.size(1), .codes = static_cast<const uint8_t*>(plain.const_data_ptr())});
      out.parts += 1;
    }
  }
  return out;
}

PackedLayer PackedLayers::pack(const LayerWeights& w) {
  PackedLayer out;
  out.has_v = w.v_proj.defined();
  out.qkv = place(out.has_v ? std::vector{w.q_proj, w.k_proj, w.v_proj} : std::vector{w.q_proj, w.k_proj});
  out.o = place({w.o_proj});
  out.gate_up = place({w.gate_proj, w.up_proj});
  out.down = place({w.down_proj});
  out.router = place({w.router_proj}, true);
  out.experts_gate_up = place({w.experts_gate_up});
  out.experts_down = place({w.experts_down});
  if (counting_) return out;
  const std::pair<std::vector<float>*, const at::Tensor*> vectors[] = {
      {&out.q_norm, &w.q_norm}, {&out.k_norm, &w.k_norm}, {&out.input_norm, &w.input_norm}, {&out.post_attention_norm, &w.post_attention_norm},
      {&out.pre_ffn_norm, &w.pre_ffn_norm}, {&out.post_ffn_norm_1, &w.post_ffn_norm_1}, {&out.pre_ffn_norm_2, &w.pre_ffn_norm_2},
      {&out.post_ffn_norm_2, &w.post_ffn_norm_2}, {&out.post_ffn_norm, &w.post_ffn_norm}, {&out.router_scale, &w.router_scale}, {&out.per_expert_scale, &w.per_expert_scale}};
  for (const auto& [to, from] : vectors) *to = to_f32_vector(*from);
  out.decoder_scalar = to_f32_vector(w.decoder_scalar).front();
  out.encoder_scalar = to_f32_vector(w.encoder_scalar).front();
  return out;
}

}  // namespace canvaslab
