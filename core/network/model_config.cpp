#include "core/network/model_config.h"

#include <filesystem>
#include <fstream>
#include <limits>


#include "core/error.h"
#include "core/json.h"
#include "core/params.h"

namespace canvaslab {
namespace {

Json read_json(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw input_error("{}: cannot be opened; a checkpoint folder needs it", path);
  Json json = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  if (!json.is_object()) throw input_error("{}: is no JSON object", path);
  return json;
}

/// Typed access to one JSON object with errors that name file and field.
class Fields {
 public:
  Fields(std::string where, const Json& object) : where_(std::move(where)), object_(object) {}
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  int64_t integer(const char* key, std::optional<int64_t> fallback, int64_t least = 1, int64_t most = int64_t{1} << 28) const {
    if (!has(key)) {
      if (fallback) return *fallback;
      throw input_error("{}: field '{}' is missing; expected a whole number", where_, key);
    }
    if (!object_[key].is_number_integer()) throw input_error("{}: field '{}' is {}; expected a whole number", where_, key, json_text(object_[key]));
    // Unsigned values above the signed range would turn negative.
    const auto value = object_[key].is_number_unsigned() && object_[key].get<uint64_t>() > static_cast<uint64_t>(most) ? most + 1 : object_[key].get<int64_t>();
    if (value < least || value > most) throw input_error("{}: field '{}' is {}; expected {} to {}", where_, key, json_text(object_[key]), least, most);
    return value;
  }
  double real(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_number()) throw input_error("{}: field '{}' is {}; expected a number", where_, key, json_text(object_[key]));
    return object_[key].get<double>();
  }
  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) throw input_error("{}: field '{}' is {}; expected true or false", where_, key, json_text(object_[key]));
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) throw input_error("{}: field '{}' is {}; expected a string", where_, key, json_text(object_[key]));
    return object_[key].get<std::string>();
  }
  /// The object under `key`; errors when it is something else.
  Fields object(const char* key) const {
    if (!object_[key].is_object()) throw input_error("{}: field '{}' is {}; expected an object", where_, key, json_text(object_[key]));
    return Fields(fmt::format("{}: {}", where_, key), object_[key]);
  }
  /// A token id or a list of them.
  std::vector<int32_t> integers(const char* key) const {
    if (!has(key)) return {};
    std::vector<int32_t> out;
    const Json list = object_[key].is_array() ? object_[key] : Json::array({object_[key]});
    for (const auto& item : list) {
      if (!item.is_number_unsigned() || item.get<uint64_t>() > std::numeric_limits<int32_t>::max())
        throw input_error("{}: field '{}' must be a token id or a list of them, got {}", where_, key, json_text(object_[key]));
      out.push_back(item.get<int32_t>());
    }
    return out;
  }
  const Json& raw() const { return object_; }
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  const Json& object_;
};

RopeConfig read_rope(const Fields& text, const char* kind, RopeConfig fallback) {
  if (!text.has("rope_parameters")) return fallback;
  const Fields kinds = text.object("rope_parameters");
  if (!kinds.has(kind)) return fallback;
  const Fields rope = kinds.object(kind);
  const std::string type = rope.text("rope_type", "default");
  if (type != "default" && type != "proportional") throw input_error("{}: rope_type '{}' is unknown; expected default or proportional", rope.where(), type);
  return {.proportional = type == "proportional", .theta = rope.real("rope_theta", fallback.theta),
          .partial_rotary_factor = rope.real("partial_rotary_factor", 1.0), .factor = rope.real("factor", 1.0)};
}

}  // namespace

ModelConfig ModelConfig::read(const std::string& folder) {
  const std::string path = folder + "/config.json";
  const Json json = read_json(path);
  const Fields top(path, json);
  const std::string type = top.text("model_type", "");
  if (type != "diffusion_gemma") throw input_error("{}: model_type is '{}'; this program runs 'diffusion_gemma'", path, type);
  if (!top.has("text_config")) throw input_error("{}: field 'text_config' is missing", path);
  const Fields text = top.object("text_config");
  ModelConfig c;
  c.vocab_size = text.integer("vocab_size", 262144);
  c.hidden_size = text.integer("hidden_size", std::nullopt);
  c.intermediate_size = text.integer("intermediate_size", std::nullopt);
  c.moe_intermediate_size = text.integer("moe_intermediate_size", std::nullopt);
  c.num_experts = text.integer("num_experts", std::nullopt);
  c.top_k_experts = text.integer("top_k_experts", std::nullopt);
  c.num_layers = text.integer("num_hidden_layers", std::nullopt, 1, 1 << 16);
  c.num_heads = text.integer("num_attention_heads", std::nullopt);
  c.sliding_window = text.integer("sliding_window", 512);
  c.canvas_length = top.integer("canvas_length", 256);
  c.rms_norm_eps = text.real("rms_norm_eps", 1e-6);
  c.final_logit_softcapping = text.real("final_logit_softcapping", 30);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", true) && text.boolean("tie_word_embeddings", true);
  c.image_token_id = top.integer("image_token_id", 258880, 0);
  c.pad_token_id = text.integer("pad_token_id", 0, 0);
  c.eos_token_ids = top.has("eos_token_id") ? top.integers("eos_token_id") : text.integers("eos_token_id");
  if (c.top_k_experts > c.num_experts) throw input_error("{}: top_k_experts ({}) exceeds num_experts ({})", text.where(), c.top_k_experts, c.num_experts);
  const std::string activation = text.text("hidden_activation", "gelu_pytorch_tanh");
  if (activation != "gelu_pytorch_tanh") throw input_error("{}: hidden_activation '{}' is unknown; expected gelu_pytorch_tanh", text.where(), activation);
  if (text.boolean("attention_bias", false)) throw input_error("{}: attention_bias is true; no DiffusionGemma has biases", text.where());
  c.sliding_rope = read_rope(text, "sliding_attention", {.proportional = false, .theta = 1e4});
  c.full_rope = read_rope(text, "full_attention", {.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.25});

  std::vector<std::string> types;
  if (text.has("layer_types")) {
    if (!text.raw()["layer_types"].is_array()) throw input_error("{}: field 'layer_types' is {}; expected a list", text.where(), json_text(text.raw()["layer_types"]));
    for (const auto& item : text.raw()["layer_types"]) types.push_back(item.is_string() ? item.get<std::string>() : json_text(item));
    if (static_cast<int64_t>(types.size()) != c.num_layers) throw input_error("{}: layer_types lists {} layers, num_hidden_layers is {}", text.where(), types.size(), c.num_layers);
  } else {
    for (int64_t i = 0; i < c.num_layers; ++i) types.push_back((i + 1) % 6 ? "sliding_attention" : "full_attention");
  }
  types.back() = "full_attention";  // as the reference forces it
  const int64_t head_dim = text.integer("head_dim", 256), kv_heads = text.integer("num_key_value_heads", 4);
  const bool per_layer = text.has("per_layer_config");
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string& layer_type = types[static_cast<size_t>(i)];
    if (layer_type != "sliding_attention" && layer_type != "full_attention")
      throw input_error("{}: layer_types[{}] is '{}'; expected sliding_attention or full_attention", text.where(), i, layer_type);
    LayerConfig layer{.sliding = layer_type == "sliding_attention", .head_dim = head_dim, .num_kv_heads = kv_heads};
    if (per_layer) {
      const Fields table = text.object("per_layer_config");
      // transformers 5.17 pads the layer numbers with zeros to one width.
      auto key = std::to_string(i);
      while (!table.has(key.c_str()) && key.size() < std::to_string(c.num_layers).size()) key.insert(0, "0");
      if (table.has(key.c_str())) {
        const Fields overrides = table.object(key.c_str());
        layer.head_dim = overrides.integer("head_dim", head_dim);
        layer.num_kv_heads = overrides.integer("num_key_value_heads", kv_heads);
      }
    } else if (!layer.sliding) {
      layer.head_dim = text.integer("global_head_dim", 512);
      layer.num_kv_heads = text.integer("num_global_key_value_heads", kv_heads);
    }
    if (layer.head_dim % 2) throw input_error("{}: layer {} has head_dim {}; rotary embedding needs an even one", text.where(), i, layer.head_dim);
    if (c.num_heads % layer.num_kv_heads) throw input_error("{}: layer {} has {} key-value heads, which does not divide {} heads", text.where(), i, layer.num_kv_heads, c.num_heads);
    c.layers.push_back(layer);
  }
  return c;
}

DenoiserDefaults read_generation_config(const std::string& folder, const ModelConfig& config) {
  const std::string path = folder + "/generation_config.json";
  const Json json = std::filesystem::exists(path) ? read_json(path) : Json::object();
  const Fields fields(path, json);
  DenoiserDefaults out;
  const double t_min = fields.real("t_min", 0.4), t_max = fields.real("t_max", 0.8);
  out.temperature = fmt::format("linear_remaining(t_min={}, t_max={})", format_real(t_min), format_real(t_max));
  out.emission = "argmax";
  out.num_steps = static_cast<int32_t>(fields.integer("max_denoising_steps", 48));
  out.canvas_length = static_cast<int32_t>(config.canvas_length);
  out.max_new_tokens = static_cast<int32_t>(fields.integer("max_new_tokens", 256));
  out.end_ids = fields.has("eos_token_id") ? fields.integers("eos_token_id") : config.eos_token_ids;
  out.pad_id = static_cast<int32_t>(fields.integer("pad_token_id", config.pad_token_id, 0));
  out.plugin_values.push_back({"stable_and_confident", "stability_threshold", std::to_string(fields.integer("stability_threshold", 1, 0))});
  out.plugin_values.push_back({"stable_and_confident", "confidence_threshold", format_real(fields.real("confidence_threshold", 0.005))});
  if (fields.has("sampler_config")) {
    const Fields sampler = fields.object("sampler_config");
    out.plugin_values.push_back({"entropy_bound", "entropy_bound", format_real(sampler.real("entropy_bound", 0.1))});
  }
  return out;
}

}  // namespace canvaslab
