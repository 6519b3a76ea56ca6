#pragma once
// Sizes and constants of a DiffusionGemma checkpoint, read from config.json and generation_config.json.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/denoiser.h"

namespace canvaslab {

/// One layer's attention.
struct LayerConfig {
  bool sliding = true;          ///< sliding window, else full attention with V taken from the key projection
  int64_t head_dim = 0, num_kv_heads = 0;
};

/// One kind of rotary embedding.
struct RopeConfig {
  bool proportional = false;    ///< rotates the first part of each half of the head only
  double theta = 10000, partial_rotary_factor = 1, factor = 1;
};

/// Text part of config.json, both as released and as transformers 5.17 writes it (model.md 1.1, 1.2).
struct ModelConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, moe_intermediate_size = 0;
  int64_t num_experts = 0, top_k_experts = 0, num_layers = 0, num_heads = 0;
  int64_t sliding_window = 512, canvas_length = 256;
  double rms_norm_eps = 1e-6, final_logit_softcapping = 30;
  bool tie_word_embeddings = true;
  int64_t image_token_id = 258880, pad_token_id = 0;
  std::vector<int32_t> eos_token_ids;
  RopeConfig sliding_rope, full_rope;
  std::vector<LayerConfig> layers;

  /// Reads DIR/config.json. Errors: input errors naming file and field.
  static ModelConfig read(const std::string& folder);
};

/// DIR/generation_config.json as defaults for a plan; absent or null fields take the reference's own defaults
/// (model.md 1.4). A missing file is all defaults.
DenoiserDefaults read_generation_config(const std::string& folder, const ModelConfig& config);

}  // namespace canvaslab
