#include "core/network/lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/digest.h"
#include "core/durable_file.h"
#include "core/error.h"
#include "core/network/weight_names.h"
#include "core/params.h"
#include "core/safetensors_writer.h"

namespace canvaslab {
namespace {

constexpr std::string_view kPrefix = "base_model.model.", kWrapped = ".base_layer", kExperts = ".experts";
/// Tensors of the module of experts, in the order in which the model declares and PEFT wraps them.
constexpr std::string_view kExpertTensors[] = {"gate_up_proj", "down_proj"};

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

bool is_named(const std::vector<std::string>& targets, const std::string& name) {
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& target) { return name == target || name.ends_with("." + target); });
}

at::Tensor contiguous_floats(const at::Tensor& tensor) { return tensor.to(at::kFloat).cpu().contiguous(); }

std::string_view bytes_of(const at::Tensor& tensor) { return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}; }

}  // namespace

at::Tensor adapted(const at::Tensor& weight, const LoraFactors& factors) { return at::matmul(factors.b, factors.a).mul_(factors.scale).add_(weight.to(at::kFloat)); }

LoraAdapter::LoraAdapter(const std::string& folder)
    : config_(LoraConfig::read(folder)), path_(folder + "/adapter_model.safetensors"), files_(SafetensorsFolder::of_file(path_)) {
  for (const auto& [name, entry] : files_.tensors()) add(name, entry.tensor);
  for (auto& [module, by_depth] : modules_) {
    for (const auto& [depth, entry] : by_depth)
      if (!entry.a || !entry.b) throw input_error("{}: tensor '{}' has no {} beside it", path_, (entry.a ? entry.a : entry.b)->name, entry.a ? "lora_B" : "lora_A");
    if (module.ends_with(kExperts)) {
      name_experts(module, std::move(by_depth));
    } else {
      const std::string weight = module + ".weight";
      Entry& entry = weights_[weight] = std::move(by_depth.begin()->second);
      entry.target = is_named(config_.target_parameters, weight) ? weight : module;
    }
  }
  modules_.clear();
  if (weights_.empty()) throw input_error("{}: adapts nothing of the text network", path_);
}

void LoraAdapter::add(const std::string& name, const at::Tensor& tensor) {
  std::string module = name;
  const bool is_a = module.ends_with(".lora_A.weight"), is_b = module.ends_with(".lora_B.weight");
  if (!module.starts_with(kPrefix) || (!is_a && !is_b))
    throw input_error("{}: tensor '{}' is no factor of a linear layer or of experts; expected names {}MODULE.lora_A.weight and lora_B.weight", path_, name, kPrefix);
  if (!at::isFloatingType(tensor.scalar_type())) throw input_error("{}: tensor '{}' has dtype {}; expected F32, BF16 or F16", path_, name, c10::toString(tensor.scalar_type()));
  module = module.substr(kPrefix.size(), module.size() - kPrefix.size() - std::string_view(".lora_A.weight").size());
  if (is_vision_name(module + ".")) return;  // the network runs on text
  int depth = 0;
  for (; module.ends_with(kWrapped); ++depth) module.resize(module.size() - kWrapped.size());
  if (depth > 0 && !module.ends_with(kExperts)) throw input_error("{}: tensor '{}': only experts have layers around layers", path_, name);
  Entry& entry = modules_[module][depth];
  (is_a ? entry.a : entry.b) = Half{name, tensor};
}

void LoraAdapter::name_experts(const std::string& module, std::map<int, Entry> by_depth) {
  std::vector<std::string> named;
  for (const auto tensor : kExpertTensors)
    if (const std::string weight = fmt::format("{}.{}", module, tensor); is_named(config_.target_parameters, weight)) named.push_back(weight);
  if (named.size() != by_depth.size() || by_depth.rbegin()->first != static_cast<int>(named.size()) - 1)
    throw input_error("{}: holds factors of {} tensors of '{}', but 'target_parameters' of {} names {} of its tensors", path_, by_depth.size(), module, config_.path, named.size());
  for (size_t i = 0; i < named.size(); ++i) {
    Entry& entry = weights_[named[i]] = std::move(by_depth.at(static_cast<int>(named.size() - 1 - i)));  // the last one is outermost
    entry.target = named[i];
  }
}

void LoraAdapter::check(const Half& half, at::IntArrayRef expected, const std::string& weight, at::IntArrayRef shape) const {
  if (half.tensor.sizes() == expected) return;
  throw input_error("{}: tensor '{}' has shape {}; for '{}', which is {} in the base, at rank {} ({}) it must be {}", path_, half.name, shape_text(half.tensor.sizes()), weight, shape_text(shape),
                    config_.rank_of(weights_.at(weight).target), config_.path, shape_text(expected));
}

std::optional<LoraFactors> LoraAdapter::factors(const std::string& weight, at::IntArrayRef shape) {
  const auto found = weights_.find(weight);
  if (found == weights_.end()) return std::nullopt;
  Entry& entry = found->second;
  entry.used = true;
  const int64_t r = config_.rank_of(entry.target), N = shape[shape.size() - 2], K = shape.back(), E = shape.size() == 3 ? shape[0] : 1;
  check(*entry.a, {E * r, K}, weight, shape);
  check(*entry.b, {N, r * E}, weight, shape);
  LoraFactors out{.a = contiguous_floats(entry.a->tensor), .b = contiguous_floats(entry.b->tensor), .scale = config_.scale_of(entry.target)};
  if (shape.size() == 3) {
    out.a = out.a.view({E, r, K});
    out.b = out.b.view({N, r, E}).permute({2, 0, 1}).contiguous();
  }
  return out;
}

void LoraAdapter::finish() const {
  for (const auto& [weight, entry] : weights_)
    if (!entry.used) throw input_error("{}: tensor '{}' is for '{}', which the base model does not have", path_, entry.a->name, weight);
}

std::string LoraAdapter::content_hash() const {
  std::string all = files_.content_hash() + "\n";
  for (const auto& [weight, entry] : weights_) all += fmt::format("{} {}\n", weight, format_real(config_.scale_of(entry.target)));
  return hex(sha256(all));
}

void write_lora_adapter(const std::string& folder, const std::string& base, int64_t rank, double alpha, const std::map<std::string, LoraFactors>& factors) {
  std::filesystem::create_directories(folder);
  LoraConfigToWrite config{.base = base, .rank = rank, .alpha = alpha, .linear = {}, .target_parameters = {}};
  std::set<std::string> linear, expert_tensors;
  std::vector<at::Tensor> kept;
  std::vector<TensorToWrite> tensors;
  const auto put = [&](const std::string& name, const at::Tensor& tensor) {
    kept.push_back(contiguous_floats(tensor));
    tensors.push_back({name, "F32", kept.back().sizes().vec(), bytes_of(kept.back())});
  };
  for (const auto& [weight, f] : factors) {
    const std::string module = weight.substr(0, weight.rfind('.')), last = weight.substr(weight.rfind('.') + 1), rest = module.substr(kDecoderPrefix.size());
    const bool experts = f.a.dim() == 3;
    const bool inner = experts && last == kExpertTensors[0] && factors.contains(fmt::format("{}.{}", module, kExpertTensors[1]));
    if (experts) expert_tensors.insert("experts." + last);
    else linear.insert(module.substr(module.rfind('.') + 1));
    const at::Tensor a = experts ? f.a.flatten(0, 1) : f.a, b = experts ? f.b.permute({1, 2, 0}).flatten(1) : f.b;
    for (const auto prefix : {kDecoderPrefix, kEncoderPrefix}) {
      const std::string name = fmt::format("{}{}{}{}", kPrefix, prefix, rest, inner ? kWrapped : "");
      put(name + ".lora_A.weight", a);
      put(name + ".lora_B.weight", b);
    }
  }
  config.linear.assign(linear.begin(), linear.end());
  config.target_parameters.assign(expert_tensors.begin(), expert_tensors.end());
  write_safetensors(folder + "/adapter_model.safetensors", tensors);
  write_text_durably(folder + "/adapter_config.json", lora_config_text(config));
}

}  // namespace canvaslab
