#include "core/network/lora_training.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/philox.h"

namespace canvaslab {
namespace {

constexpr const char* kA = ".lora_A";
constexpr const char* kB = ".lora_B";
constexpr uint64_t kFirstFactor = uint64_t{1} << 32;  // draws apart from those of a network's own weights

bool is_target(const std::string& name, const LoraOptions& options) {
  const auto ends = [&](std::initializer_list<const char*> words) { return std::any_of(words.begin(), words.end(), [&](const char* word) { return name.ends_with(word); }); };
  return (options.attention && ends({"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight"})) ||
         (options.experts && ends({"experts.gate_up_proj", "experts.down_proj"}));
}

void fill_uniform(const at::Tensor& tensor, double bound, uint64_t seed, uint64_t index) {
  const DrawKey draw{.seed = seed, .item = kFirstFactor + index};
  const std::span<float> values(tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(bound * (2 * draw.uniform(Purpose::kInitialWeight, static_cast<uint32_t>(i), 0) - 1));
}

}  // namespace

LoraTargets::LoraTargets(Network& network, const LoraOptions& options, uint64_t seed) : scale_(options.alpha / static_cast<double>(options.rank)) {
  for (auto& [name, parameter] : network.parameters()) {
    if (!is_target(name, options)) {
      parameter.requires_grad_(false);
      continue;
    }
    const auto sizes = parameter.sizes().vec();
    auto a_sizes = sizes, b_sizes = sizes;
    a_sizes[sizes.size() - 2] = options.rank;
    b_sizes.back() = options.rank;
    const auto a = at::empty(a_sizes, at::kFloat);
    fill_uniform(a, 1 / std::sqrt(static_cast<double>(sizes.back())), seed, targets_.size());
    parameters_[name + kA] = a.to(parameter.device());
    parameters_[name + kB] = at::zeros(b_sizes, at::kFloat).to(parameter.device());
    parameter.mutable_grad() = at::zeros_like(parameter.detach());
    targets_[name] = {.base = parameter.detach().clone(), .weight = parameter};
  }
}

void LoraTargets::begin_step() {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, f] : factors([&](const std::string& parameter) { return parameters_.at(parameter); })) {
    Target& target = targets_.at(name);
    target.weight.copy_(adapted(target.base, f));
    target.weight.mutable_grad().zero_();
  }
}

void LoraTargets::finish_step() {
  const c10::NoGradGuard no_grad;
  for (auto& [name, target] : targets_) {
    at::Tensor &a = parameters_.at(name + kA), &b = parameters_.at(name + kB);
    const auto& gradient = target.weight.grad();
    a.mutable_grad().copy_(at::matmul(b.transpose(-2, -1), gradient).mul_(scale_));
    b.mutable_grad().copy_(at::matmul(gradient, a.transpose(-2, -1)).mul_(scale_));
  }
}

std::map<std::string, LoraFactors> LoraTargets::factors(const std::function<at::Tensor(const std::string& parameter)>& value) const {
  std::map<std::string, LoraFactors> out;
  for (const auto& [name, target] : targets_) out[name] = {.a = value(name + kA), .b = value(name + kB), .scale = scale_};
  return out;
}

at::Tensor LoraTargets::base(const std::string& weight) const {
  const auto found = targets_.find(weight);
  return found == targets_.end() ? at::Tensor() : found->second.base;
}

}  // namespace canvaslab
