// Binding checkpoint tensors to the network: every name, shape and dtype checked.
#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>

#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "core/error.h"
#include "core/network/network.h"
#include "core/network/safetensors.h"

namespace canvaslab {
namespace {

constexpr const char* kDecoder = "model.decoder.";
constexpr const char* kEncoder = "model.encoder.language_model.";

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

/// Takes tensors by name, remembers which were asked for.
class Binder {
 public:
  Binder(const SafetensorsFolder& folder, std::string where, at::ScalarType dtype, at::Device device, std::map<std::string, at::Tensor>& parameters)
      : folder_(folder), where_(std::move(where)), dtype_(dtype), device_(device), parameters_(parameters) {}
  bool has(const std::string& name) const { return folder_.tensors().contains(name); }
  at::Tensor take(const std::string& name, std::vector<int64_t> shape) {
    const auto found = folder_.tensors().find(name);
    if (found == folder_.tensors().end()) throw input_error("{}: tensor '{}' is missing; expected shape {}", where_, name, shape_text(shape));
    const at::Tensor& tensor = found->second.tensor;
    if (tensor.sizes() != at::IntArrayRef(shape)) throw input_error("{}: tensor '{}' has shape {}; config.json asks for {}", found->second.file, name, shape_text(tensor.sizes()), shape_text(shape));
    if (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kBFloat16 && tensor.scalar_type() != at::kHalf)
      throw input_error("{}: tensor '{}' has dtype {}; expected F32, BF16 or F16", found->second.file, name, c10::toString(tensor.scalar_type()));
    used_.insert(name);
    return parameters_[name] = tensor.to(at::TensorOptions().dtype(dtype_).device(device_));
  }
  /// A tensor that may repeat another one; ignored apart from its shape.
  void allow(const std::string& name) { used_.insert(name); }
  void finish() const {
    for (const auto& [name, entry] : folder_.tensors()) {
      if (used_.contains(name) || name.starts_with("model.encoder.vision_tower.") || name.starts_with("model.encoder.embed_vision.")) continue;
      throw input_error("{}: tensor '{}' belongs to nothing that config.json describes", entry.file, name);
    }
  }

 private:
  const SafetensorsFolder& folder_;
  std::string where_;
  at::ScalarType dtype_;
  at::Device device_;
  std::map<std::string, at::Tensor>& parameters_;
  std::set<std::string> used_;
};

}  // namespace

Network Network::load(const std::string& folder, at::ScalarType dtype, at::Device device) {
  Network net;
  net.config_ = ModelConfig::read(folder);
  const ModelConfig& c = net.config_;
  const SafetensorsFolder files(folder);
  Binder bind(files, folder, dtype, device, net.parameters_);
  const std::string d = kDecoder;
  const int64_t D = c.hidden_size, F = c.intermediate_size, M = c.moe_intermediate_size, E = c.num_experts;
  net.embedding_ = bind.take(d + "embed_tokens.weight", {c.vocab_size, D});
  net.lm_head_ = net.embedding_;
  if (!c.tie_word_embeddings) net.lm_head_ = bind.take("lm_head.weight", {c.vocab_size, D});
  else bind.allow("lm_head.weight");
  net.final_norm_ = bind.take(d + "norm.weight", {D});
  net.sc_pre_norm_ = bind.take(d + "self_conditioning.pre_norm.weight", {D});
  net.sc_gate_ = bind.take(d + "self_conditioning.gate_proj.weight", {F, D});
  net.sc_up_ = bind.take(d + "self_conditioning.up_proj.weight", {F, D});
  net.sc_down_ = bind.take(d + "self_conditioning.down_proj.weight", {D, F});
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const LayerConfig& shape = c.layers[static_cast<size_t>(i)];
    const int64_t H = c.num_heads, Dh = shape.head_dim, Hkv = shape.num_kv_heads;
    const std::string l = fmt::format("{}layers.{}.", d, i);
    LayerWeights w;
    w.q_proj = bind.take(l + "self_attn.q_proj.weight", {H * Dh, D});
    w.k_proj = bind.take(l + "self_attn.k_proj.weight", {Hkv * Dh, D});
    if (shape.sliding) w.v_proj = bind.take(l + "self_attn.v_proj.weight", {Hkv * Dh, D});
    w.o_proj = bind.take(l + "self_attn.o_proj.weight", {D, H * Dh});
    w.q_norm = bind.take(l + "self_attn.q_norm.weight", {Dh});
    w.k_norm = bind.take(l + "self_attn.k_norm.weight", {Dh});
    w.input_norm = bind.take(l + "input_layernorm.weight", {D});
    w.post_attention_norm = bind.take(l + "post_attention_layernorm.weight", {D});
    w.pre_ffn_norm = bind.take(l + "pre_feedforward_layernorm.weight", {D});
    w.post_ffn_norm_1 = bind.take(l + "post_feedforward_layernorm_1.weight", {D});
    w.pre_ffn_norm_2 = bind.take(l + "pre_feedforward_layernorm_2.weight", {D});
    w.post_ffn_norm_2 = bind.take(l + "post_feedforward_layernorm_2.weight", {D});
    w.post_ffn_norm = bind.take(l + "post_feedforward_layernorm.weight", {D});
    w.gate_proj = bind.take(l + "mlp.gate_proj.weight", {F, D});
    w.up_proj = bind.take(l + "mlp.up_proj.weight", {F, D});
    w.down_proj = bind.take(l + "mlp.down_proj.weight", {D, F});
    w.router_proj = bind.take(l + "router.proj.weight", {E, D});
    w.router_scale = bind.take(l + "router.scale", {D});
    w.per_expert_scale = bind.take(l + "router.per_expert_scale", {E});
    w.experts_gate_up = bind.take(l + "experts.gate_up_proj", {E, 2 * M, D});
    w.experts_down = bind.take(l + "experts.down_proj", {E, D, M});
    w.decoder_scalar = bind.take(l + "layer_scalar", {1});
    w.encoder_scalar = bind.take(fmt::format("{}layers.{}.layer_scalar", kEncoder, i), {1});
    net.layers_.push_back(std::move(w));
  }
  // A checkpoint may store the encoder's text weights too; they are tied to the decoder's.
  for (const auto& [name, entry] : files.tensors()) {
    const std::string prefix = kEncoder;
    if (name.starts_with(prefix) && files.tensors().contains(d + name.substr(prefix.size()))) bind.allow(name);
  }
  bind.finish();
  net.embedding_scale_ = at::scalar_tensor(std::sqrt(static_cast<double>(D)), at::TensorOptions().dtype(at::kFloat)).to(dtype).to(device);
  net.content_hash_ = files.content_hash();
  return net;
}

}  // namespace canvaslab
