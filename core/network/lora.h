#pragma once
// LoRA adapters in PEFT's layout: read, merged into weights, written.
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

#include "core/lora_config.h"
#include "core/network/safetensors.h"

namespace canvaslab {

/// What an adapter adds to one weight: scale * B A. Letters: r rank, N rows of the weight, K its columns, E experts.
struct LoraFactors {
  at::Tensor a;      ///< [r, K] f32, or [E, r, K] for a weight of experts
  at::Tensor b;      ///< [N, r] f32, or [E, N, r]
  double scale = 1;  ///< alpha / r
};

/// weight + scale * B A in f32; weight [N, K] or [E, N, K] of any floating dtype.
at::Tensor adapted(const at::Tensor& weight, const LoraFactors& factors);

/// An adapter folder's tensors by the weight they change. PEFT's names (0.21): base_model.model.MODULE.lora_A.weight for a
/// linear layer. For experts MODULE is the module that holds the stacked tensors; each of them that is adapted wraps the one
/// before in the order gate_up_proj, down_proj, and an inner one's names carry .base_layer once per wrapper around it. Their
/// A is [E * r, K], expert by expert; their B is [N, r * E], rank by rank.
class LoraAdapter {
 public:
  /// Errors: those of LoraConfig::read and read_safetensors_header; tensors that are no factors, or lack their other half.
  explicit LoraAdapter(const std::string& folder);
  /// Factors for the weight of this checkpoint name and shape; none: it is not adapted. Errors: input errors naming file
  /// and tensor for a rank other than the configuration's and for shapes that do not fit the weight.
  std::optional<LoraFactors> factors(const std::string& weight, at::IntArrayRef shape);
  /// Errors: input error for a tensor whose weight nobody asked for: the base model has none of that name.
  void finish() const;
  /// Hash over names, scales and tensors.
  std::string content_hash() const;

 private:
  struct Half {
    std::string name;  ///< in the file
    at::Tensor tensor;
  };
  struct Entry {
    std::optional<Half> a, b;
    std::string target;  ///< what the configuration's patterns are matched with
    bool used = false;
  };
  void add(const std::string& name, const at::Tensor& tensor);
  void name_experts(const std::string& module, std::map<int, Entry> by_depth);
  void check(const Half& half, at::IntArrayRef expected, const std::string& weight, at::IntArrayRef shape) const;

  LoraConfig config_;
  std::string path_;
  SafetensorsFolder files_;
  std::map<std::string, std::map<int, Entry>> modules_;  ///< module name, times .base_layer; emptied by the constructor
  std::map<std::string, Entry> weights_;                 ///< by checkpoint name
};

/// Writes adapter_model.safetensors and adapter_config.json into `folder`, both whole or not at all. `factors`: by
/// checkpoint name, the decoder's ("model.decoder.layers.0.self_attn.q_proj.weight"). Encoder and decoder of the model share
/// their weights, so both get the factors: PEFT wraps them apart. (PEFT's merge_and_unload would add to the shared memory
/// twice; use the merged model instead.)
void write_lora_adapter(const std::string& folder, const std::string& base, int64_t rank, double alpha, const std::map<std::string, LoraFactors>& factors);

}  // namespace canvaslab
