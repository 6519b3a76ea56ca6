#pragma once
// What the adapter_config.json of a LoRA adapter says (the layout of Hugging Face's PEFT, version 0.21).
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace canvaslab {

/// A LoRA adapter adds scale * B A to a weight of its base model (Hu et al. 2021). The folder holds adapter_config.json and
/// adapter_model.safetensors.
struct LoraConfig {
  std::string path;                                          ///< of adapter_config.json
  std::string base;                                          ///< base_model_name_or_path; may be empty
  int64_t rank = 8;
  double alpha = 8;
  bool rank_stabilised = false;                              ///< scale is alpha / sqrt(rank) instead of alpha / rank
  std::vector<std::pair<std::string, int64_t>> rank_pattern; ///< regular expression of a name's end, and its rank
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<std::string> target_parameters;                ///< names, or ends of names, of tensors that belong to no linear layer: those of experts

  /// Rank and scale of a target: a module for linear layers, a tensor for experts.
  int64_t rank_of(std::string_view target) const;
  double scale_of(std::string_view target) const;
  /// The folder of the base model: as written, or beside the adapter. Errors: input when neither is a folder.
  std::string base_folder() const;

  /// Errors: input errors naming file and key: no JSON, another method than LoRA, or a variant that changes more than
  /// W + scale * B A (DoRA, biases, tokens of its own, initialisations that change the base).
  static LoraConfig read(const std::string& folder);
};

/// Whether a folder holds an adapter and no model of its own.
bool is_adapter_folder(const std::string& folder);

/// adapter_config.json for factors of the given linear layers and expert tensors, as PEFT reads it.
struct LoraConfigToWrite {
  std::string base;
  int64_t rank = 8;
  double alpha = 8;
  std::vector<std::string> linear;             ///< last words of module names: "q_proj"; may be empty
  std::vector<std::string> target_parameters;  ///< "experts.gate_up_proj"; may be empty
};
std::string lora_config_text(const LoraConfigToWrite& config);

}  // namespace canvaslab
