#pragma once
// Training of LoRA adapters: the network's weights follow from frozen ones and two small factors each.
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

#include "core/network/lora.h"
#include "core/network/network.h"
#include "core/network/trainer.h"

namespace canvaslab {

/// The adapted weights of a network. Forward and backward run on whole weights, as in full training; chain rule for the
/// factors of W = W0 + s B A: dA = s B^T dW, dB = s dW A^T (Hu et al. 2021).
class LoraTargets {
 public:
  /// Freezes a trainable network but for the adapted weights. A is uniform in +-K^-1/2 (K columns; PEFT's start), a pure
  /// function of the seed, and B zero, so that training starts from the base model.
  LoraTargets(Network& network, const LoraOptions& options, uint64_t seed);

  /// The factors as parameters: WEIGHT.lora_A and WEIGHT.lora_B by the weight's checkpoint name; shapes as in LoraFactors.
  std::map<std::string, at::Tensor>& parameters() { return parameters_; }
  /// Sets the network's weights from the factors, and their gradients to zero.
  void begin_step();
  /// Writes the factors' gradients from the weights' ones.
  void finish_step();
  /// Factors by weight, their values as `value` gives them for a parameter's name.
  std::map<std::string, LoraFactors> factors(const std::function<at::Tensor(const std::string& parameter)>& value) const;
  /// A weight before adaptation; undefined when it has no adapter.
  at::Tensor base(const std::string& weight) const;

 private:
  struct Target {
    at::Tensor base, weight;  ///< [N, K] or [E, N, K]: frozen, and the network's
  };
  double scale_;
  std::map<std::string, Target> targets_;
  std::map<std::string, at::Tensor> parameters_;
};

}  // namespace canvaslab
