// Binding checkpoint tensors to the network: every name, shape and dtype checked.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/scalar_tensor.h>

#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <numbers>
#include <set>
#include <span>

#include "core/digest.h"
#include "core/error.h"
#include "core/network/network.h"
#include "core/network/lora.h"
#include "core/network/packed_weights.h"
#include "core/network/safetensors.h"
#include "core/network/weight_names.h"
#include "core/philox.h"

namespace canvaslab {
namespace {

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

/// Takes tensors of a checkpoint by name, remembers which were asked for.
class Binder {
 public:
  Binder(const SafetensorsFolder& folder, std::string where, at::ScalarType dtype, at::Device device, std::map<std::string, at::Tensor>& parameters)
      : folder_(folder), stored_(folder), where_(std::move(where)), dtype_(dtype), device_(device), parameters_(parameters) {}
  at::Tensor take(const std::string& name, std::vector<int64_t> shape) {
    if (stored_.contains(name)) {
      stored_.check_shape(name, shape);
      return parameters_[name] = stored_.unpacked(name, dtype_).to(device_);
    }
    const auto found = folder_.tensors().find(name);
    if (found == folder_.tensors().end()) throw input_error("{}: tensor '{}' is missing; expected shape {}", where_, name, shape_text(shape));
    const at::Tensor& tensor = found->second.tensor;
    if (tensor.sizes() != at::IntArrayRef(shape)) throw input_error("{}: tensor '{}' has shape {}; config.json asks for {}", found->second.file, name, shape_text(tensor.sizes()), shape_text(shape));
    if (tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kBFloat16 && tensor.scalar_type() != at::kHalf)
      throw input_error("{}: tensor '{}' has dtype {}; expected F32, BF16 or F16", found->second.file, name, c10::toString(tensor.scalar_type()));
    used_.insert(name);
    file_tensors_[name] = tensor;
    return parameters_[name] = tensor.to(at::TensorOptions().dtype(dtype_).device(device_));
  }
  /// The matrices of a quantised weight as the files hold them; empty when it is not quantised.
  std::shared_ptr<const PackedWeight> take_packed(const std::string& name, const std::vector<int64_t>& shape) const {
    if (!stored_.contains(name) || !stored_.is_quantised(name)) return nullptr;
    stored_.check_shape(name, shape);
    return stored_.packed(name);
  }
  /// A taken tensor as the file holds it, in f32 on the device.
  at::Tensor original(const std::string& name) const {
    if (stored_.contains(name)) return stored_.unpacked(name, at::kFloat).to(device_);
    return file_tensors_.at(name).to(at::TensorOptions().dtype(at::kFloat).device(device_));
  }
  /// Gives a taken tensor another value.
  at::Tensor put(const std::string& name, const at::Tensor& value) { return parameters_[name] = value.to(dtype_); }
  /// A tensor that may repeat another one; ignored apart from its shape.
  void allow(const std::string& name) { used_.insert(name); }
  void finish() const {
    for (const auto& [name, entry] : folder_.tensors()) {
      if (used_.contains(name) || stored_.is_part(name) || is_vision_name(name)) continue;
      throw input_error("{}: tensor '{}' belongs to nothing that config.json describes", entry.file, name);
    }
  }

 private:
  const SafetensorsFolder& folder_;
  PackedWeights stored_;
  std::string where_;
  at::ScalarType dtype_;
  at::Device device_;
  std::map<std::string, at::Tensor>& parameters_;
  std::set<std::string> used_;
  std::map<std::string, at::Tensor> file_tensors_;
};

LoraFactors moved(const LoraFactors& factors, at::Device device) { return {.a = factors.a.to(device), .b = factors.b.to(device), .scale = factors.scale}; }

/// The encoder's name of a decoder's weight.
std::string encoder_name(const std::string& name) {
  return name.starts_with(kDecoderPrefix) ? std::string(kEncoderPrefix) + name.substr(kDecoderPrefix.size()) : name;
}

/// Whether two adapters of one weight do the same.
bool same(const std::optional<LoraFactors>& a, const std::optional<LoraFactors>& b) {
  if (!a || !b) return !a && !b;
  return a->scale == b->scale && at::equal(a->a, b->a) && at::equal(a->b, b->b);
}

/// Random weights by what a tensor is for. Activations keep a root mean square near 1 through the network: the attention's
/// scale is 1 and its gains are those of q_norm and k_norm; both branches of a layer start at half strength.
class FreshWeights {
 public:
  FreshWeights(uint64_t seed, std::map<std::string, at::Tensor>& parameters) : seed_(seed), parameters_(parameters) {}
  at::Tensor take(const std::string& name, std::vector<int64_t> shape) {
    at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
    const bool is_norm = name.find("norm") != std::string::npos, is_vector = shape.size() == 1;
    if (is_vector) {
      tensor.fill_(is_norm ? gain(name, shape[0]) : 1.0);
    } else {
      double deviation = 1 / std::sqrt(static_cast<double>(shape.back()));
      if (name.ends_with("router.proj.weight")) deviation = 1;  // its input has length 1
      if (name.ends_with("self_conditioning.down_proj.weight")) deviation /= 2;
      fill_normal(tensor, deviation);
    }
    return parameters_[name] = tensor;
  }

 private:
  static double gain(const std::string& name, int64_t width) {
    if (name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight")) return std::pow(static_cast<double>(width), -0.25);
    return name.ends_with("post_attention_layernorm.weight") || name.ends_with("post_feedforward_layernorm.weight") ? 0.5 : 1.0;
  }
  void fill_normal(at::Tensor& tensor, double deviation) {
    const DrawKey draw{.seed = seed_, .item = parameters_.size()};
    const std::span<float> values(tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel()));
    for (size_t i = 0; i < values.size(); ++i) {  // Box and Muller 1958
      const auto position = static_cast<uint32_t>(i);
      const double radius = std::sqrt(-2 * std::log(draw.uniform(Purpose::kInitialWeight, position, 0)));
      values[i] = static_cast<float>(deviation * radius * std::cos(2 * std::numbers::pi * draw.uniform(Purpose::kInitialWeight, position, 1)));
    }
  }
  uint64_t seed_;
  std::map<std::string, at::Tensor>& parameters_;
};

}  // namespace

Network Network::load(const std::string& folder, at::ScalarType dtype, at::Device device, const std::string& adapter_folder, QuantisedWeights quantised) {
  Network net;
  net.config_ = ModelConfig::read(folder);
  const SafetensorsFolder files(folder);
  Binder bind(files, folder, dtype, device, net.parameters_);
  std::optional<LoraAdapter> adapter;
  if (!adapter_folder.empty()) adapter.emplace(adapter_folder);
  const bool keep_packed = device.is_cpu() && !adapter && (quantised == QuantisedWeights::kForKernels || (quantised == QuantisedWeights::kPacked && dtype == at::kFloat));
  net.bind_weights([&](const std::string& name, std::vector<int64_t> shape) {
    if (keep_packed && stays_packed(name))
      if (auto packed = bind.take_packed(name, shape)) return net.keep_packed(std::move(packed), shape);
    const at::Tensor weight = bind.take(name, shape);
    const auto factors = adapter ? adapter->factors(name, shape) : std::nullopt;
    return factors ? bind.put(name, adapted(bind.original(name), moved(*factors, device))) : weight;
  });
  if (adapter) {
    bool differs = false;
    auto layers = net.bind_layers([&](const std::string& name, std::vector<int64_t> shape) {
      const auto decoder = adapter->factors(name, shape), encoder = adapter->factors(encoder_name(name), shape);
      if (same(decoder, encoder)) return net.parameters_.at(name);
      differs = true;
      return (encoder ? adapted(bind.original(name), moved(*encoder, device)) : bind.original(name)).to(dtype);
    });
    if (differs) net.encoder_layers_ = std::move(layers);
    adapter->finish();
  }
  if (net.config_.tie_word_embeddings) bind.allow("lm_head.weight");
  // A checkpoint may store the encoder's text weights too; they are tied to the decoder's.
  for (const auto& [name, entry] : files.tensors()) {
    if (name.starts_with(kEncoderPrefix) && files.tensors().contains(std::string(kDecoderPrefix) + name.substr(kEncoderPrefix.size()))) bind.allow(name);
  }
  bind.finish();
  net.embedding_scale_ = at::scalar_tensor(std::sqrt(static_cast<double>(net.config_.hidden_size)), at::TensorOptions().dtype(at::kFloat)).to(dtype).to(device);
  net.content_hash_ = files.content_hash();
  if (adapter) net.content_hash_ = hex(sha256(fmt::format("{} with adapter {}", net.content_hash_, adapter->content_hash())));
  return net;
}

Network Network::fresh(const std::string& folder, uint64_t seed, at::Device device) {
  Network net;
  net.config_ = ModelConfig::read(folder);
  FreshWeights weights(seed, net.parameters_);
  net.bind_weights([&](const std::string& name, std::vector<int64_t> shape) { return net.parameters_[name] = weights.take(name, std::move(shape)).to(device); });
  net.embedding_scale_ = at::scalar_tensor(std::sqrt(static_cast<double>(net.config_.hidden_size)), at::TensorOptions().dtype(at::kFloat)).to(device);
  return net;
}

void Network::bind_weights(const TakeWeight& take) {
  const ModelConfig& c = config_;
  const std::string d(kDecoderPrefix);
  const int64_t D = c.hidden_size, F = c.intermediate_size;
  embedding_ = take(d + "embed_tokens.weight", {c.vocab_size, D});
  lm_head_ = embedding_;
  if (!c.tie_word_embeddings) lm_head_ = take("lm_head.weight", {c.vocab_size, D});
  final_norm_ = take(d + "norm.weight", {D});
  sc_pre_norm_ = take(d + "self_conditioning.pre_norm.weight", {D});
  sc_gate_ = take(d + "self_conditioning.gate_proj.weight", {F, D});
  sc_up_ = take(d + "self_conditioning.up_proj.weight", {F, D});
  sc_down_ = take(d + "self_conditioning.down_proj.weight", {D, F});
  layers_ = bind_layers(take);
}

std::vector<LayerWeights> Network::bind_layers(const TakeWeight& take) const {
  const ModelConfig& c = config_;
  const int64_t D = c.hidden_size, F = c.intermediate_size, M = c.moe_intermediate_size, E = c.num_experts;
  std::vector<LayerWeights> layers;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const LayerConfig& shape = c.layers[static_cast<size_t>(i)];
    const int64_t H = c.num_heads, Dh = shape.head_dim, Hkv = shape.num_kv_heads;
    const std::string l = fmt::format("{}layers.{}.", kDecoderPrefix, i);
    LayerWeights w;
    w.q_proj = take(l + "self_attn.q_proj.weight", {H * Dh, D});
    w.k_proj = take(l + "self_attn.k_proj.weight", {Hkv * Dh, D});
    if (shape.sliding) w.v_proj = take(l + "self_attn.v_proj.weight", {Hkv * Dh, D});
    w.o_proj = take(l + "self_attn.o_proj.weight", {D, H * Dh});
    w.q_norm = take(l + "self_attn.q_norm.weight", {Dh});
    w.k_norm = take(l + "self_attn.k_norm.weight", {Dh});
    w.input_norm = take(l + "input_layernorm.weight", {D});
    w.post_attention_norm = take(l + "post_attention_layernorm.weight", {D});
    w.pre_ffn_norm = take(l + "pre_feedforward_layernorm.weight", {D});
    w.post_ffn_norm_1 = take(l + "post_feedforward_layernorm_1.weight", {D});
    w.pre_ffn_norm_2 = take(l + "pre_feedforward_layernorm_2.weight", {D});
    w.post_ffn_norm_2 = take(l + "post_feedforward_layernorm_2.weight", {D});
    w.post_ffn_norm = take(l + "post_feedforward_layernorm.weight", {D});
    w.gate_proj = take(l + "mlp.gate_proj.weight", {F, D});
    w.up_proj = take(l + "mlp.up_proj.weight", {F, D});
    w.down_proj = take(l + "mlp.down_proj.weight", {D, F});
    w.router_proj = take(l + "router.proj.weight", {E, D});
    w.router_scale = take(l + "router.scale", {D});
    w.per_expert_scale = take(l + "router.per_expert_scale", {E});
    w.experts_gate_up = take(l + "experts.gate_up_proj", {E, 2 * M, D});
    w.experts_down = take(l + "experts.down_proj", {E, D, M});
    w.decoder_scalar = take(l + "layer_scalar", {1});
    w.encoder_scalar = take(fmt::format("{}layers.{}.layer_scalar", kEncoderPrefix, i), {1});
    layers.push_back(std::move(w));
  }
  return layers;
}

}  // namespace canvaslab
