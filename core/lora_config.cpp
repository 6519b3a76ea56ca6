#include "core/lora_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/ranges.h>
#include <fstream>
#include <iterator>
#include <regex>

#include "core/error.h"
#include "core/json.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;

/// Keys that must say nothing: each makes the adapted weight something else than W + scale * B A.
constexpr const char* kUnsupported[] = {"use_dora", "lora_bias", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "trainable_token_indices",
                                        "kasa_config", "velora_config", "monteclora_config", "arrow_config", "modules_to_save"};
/// Initialisations that leave the base's weights alone.
constexpr const char* kPlainStarts[] = {"gaussian", "eva", "orthogonal"};

bool says_nothing(const OrderedJson& value) { return value.is_null() || (value.is_boolean() && !value.get<bool>()) || ((value.is_array() || value.is_object()) && value.empty()); }

const OrderedJson* find(const OrderedJson& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

double positive(const OrderedJson& value, const std::string& path, const std::string& key, bool whole) {
  if (!value.is_number() || !(value.get<double>() > 0) || (whole && !value.is_number_integer()))
    throw input_error("{}: '{}' is {}; expected a positive {}", path, key, json_text(value), whole ? "whole number" : "number");
  return value.get<double>();
}

template <typename Number>
std::vector<std::pair<std::string, Number>> read_pattern(const OrderedJson& root, const std::string& path, const char* key, bool whole) {
  std::vector<std::pair<std::string, Number>> out;
  const auto* object = find(root, key);
  if (!object) return out;
  if (!object->is_object()) throw input_error("{}: '{}' must be an object of names and numbers", path, key);
  for (const auto& [name, value] : object->items()) {
    try {
      std::regex{name};
    } catch (const std::regex_error&) {
      throw input_error("{}: '{}' in '{}' is no regular expression", path, name, key);
    }
    out.emplace_back(name, static_cast<Number>(positive(value, path, fmt::format("{}[{}]", key, name), whole)));
  }
  return out;
}

/// PEFT takes the first pattern that is the whole name, or its end after a dot.
template <typename Number>
Number by_pattern(const std::vector<std::pair<std::string, Number>>& patterns, std::string_view target, Number fallback) {
  for (const auto& [pattern, value] : patterns)
    if (std::regex_match(target.begin(), target.end(), std::regex("(.*\\.)?(" + pattern + ")"))) return value;
  return fallback;
}

void refuse_variants(const OrderedJson& root, const std::string& path) {
  const auto* method = find(root, "peft_type");
  if (!method || *method != "LORA") throw input_error("{}: 'peft_type' is {}; expected \"LORA\"", path, method ? json_text(*method) : "missing");
  for (const char* key : kUnsupported)
    if (const auto* value = find(root, key); value && !says_nothing(*value))
      throw input_error("{}: '{}' is {}; only adapters of the form W + scale * B A are read\nmerge it into its base with the program that made it", path, key, json_text(*value));
  if (const auto* bias = find(root, "bias"); bias && *bias != "none") throw input_error("{}: 'bias' is {}; expected \"none\": the network has no biases", path, json_text(*bias));
  const auto* start = find(root, "init_lora_weights");
  if (start && start->is_string() && std::none_of(std::begin(kPlainStarts), std::end(kPlainStarts), [&](const char* plain) { return *start == plain; }))
    throw input_error("{}: 'init_lora_weights' is {}, which changes the base's weights too; expected true, false, {}\nmerge it into its base with the program that made it", path, json_text(*start),
                      fmt::join(kPlainStarts, ", "));
}

}  // namespace

int64_t LoraConfig::rank_of(std::string_view target) const { return by_pattern(rank_pattern, target, rank); }

double LoraConfig::scale_of(std::string_view target) const {
  const auto r = static_cast<double>(rank_of(target));
  return by_pattern(alpha_pattern, target, alpha) / (rank_stabilised ? std::sqrt(r) : r);
}

std::string LoraConfig::base_folder() const {
  std::error_code ignored;
  if (base.empty()) throw input_error("{}: 'base_model_name_or_path' is missing; write the base model's folder there, or name both: checkpoint(\"BASE\", adapter=\"ADAPTER\")", path);
  const fs::path beside = fs::path(path).parent_path() / base;
  for (const fs::path& candidate : {fs::path(base), beside})
    if (fs::is_directory(candidate, ignored)) return candidate.string();
  throw input_error("{}: 'base_model_name_or_path' is '{}', and there is no such folder; write the base model's folder there, or name both: checkpoint(\"BASE\", adapter=\"ADAPTER\")", path, base);
}

LoraConfig LoraConfig::read(const std::string& folder) {
  LoraConfig c;
  c.path = folder + "/adapter_config.json";
  std::ifstream in(c.path);
  if (!in) throw input_error("{}: cannot be read; an adapter's folder holds adapter_config.json and adapter_model.safetensors", c.path);
  std::string problem;
  const OrderedJson root = parse_ordered_json(std::string(std::istreambuf_iterator<char>(in), {}), &problem);
  if (!root.is_object()) throw input_error("{}: expected a JSON object{}{}", c.path, problem.empty() ? "" : ": ", problem);
  refuse_variants(root, c.path);
  const auto* rank = find(root, "r");
  if (!rank) throw input_error("{}: 'r', the rank, is missing", c.path);
  c.rank = static_cast<int64_t>(positive(*rank, c.path, "r", true));
  const auto* alpha = find(root, "lora_alpha");
  if (!alpha) throw input_error("{}: 'lora_alpha' is missing", c.path);
  c.alpha = positive(*alpha, c.path, "lora_alpha", false);
  if (const auto* value = find(root, "use_rslora")) c.rank_stabilised = value->is_boolean() && value->get<bool>();
  c.rank_pattern = read_pattern<int64_t>(root, c.path, "rank_pattern", true);
  c.alpha_pattern = read_pattern<double>(root, c.path, "alpha_pattern", false);
  if (const auto* value = find(root, "base_model_name_or_path"); value && value->is_string()) c.base = value->get<std::string>();
  if (const auto* value = find(root, "target_parameters")) {
    if (!value->is_array() || !std::all_of(value->begin(), value->end(), [](const auto& one) { return one.is_string(); }))
      throw input_error("{}: 'target_parameters' is {}; expected a list of names", c.path, json_text(*value));
    for (const auto& one : *value) c.target_parameters.push_back(one.get<std::string>());
  }
  return c;
}

bool is_adapter_folder(const std::string& folder) {
  std::error_code ignored;
  return fs::exists(folder + "/adapter_config.json", ignored) && !fs::exists(folder + "/config.json", ignored);
}

std::string lora_config_text(const LoraConfigToWrite& config) {
  OrderedJson out;
  out["peft_type"] = "LORA";
  out["base_model_name_or_path"] = config.base;
  out["r"] = config.rank;
  out["lora_alpha"] = config.alpha;
  out["lora_dropout"] = 0.0;
  out["bias"] = "none";
  out["use_rslora"] = false;
  out["init_lora_weights"] = true;
  out["inference_mode"] = true;
  // A pattern rather than last words: those would also match the vision tower's layers, which PEFT cannot adapt.
  if (config.linear.empty()) out["target_modules"] = OrderedJson::array();
  else out["target_modules"] = fmt::format(R"(model\.(encoder\.language_model|decoder)\.layers\.\d+\.self_attn\.({}))", fmt::join(config.linear, "|"));
  if (config.target_parameters.empty()) out["target_parameters"] = nullptr;
  else out["target_parameters"] = config.target_parameters;
  out["task_type"] = nullptr;
  return json_text(out, 2) + "\n";
}

}  // namespace canvaslab
