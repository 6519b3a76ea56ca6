#pragma once
// Names of a checkpoint's tensors by part of the model.
#include <string_view>

namespace canvaslab {

inline constexpr std::string_view kDecoderPrefix = "model.decoder.";
inline constexpr std::string_view kEncoderPrefix = "model.encoder.language_model.";  ///< its text weights are the decoder's, apart from layer_scalar

/// Whether a tensor belongs to the vision tower, which the text network does not have.
inline bool is_vision_name(std::string_view name) { return name.starts_with("model.encoder.vision_tower.") || name.starts_with("model.encoder.embed_vision."); }

}  // namespace canvaslab
