#pragma once
// The small trained models that come with the project, by name.
#include <string>
#include <vector>

namespace canvaslab {

/// What generate takes when no model is named.
inline constexpr const char* kDefaultModel = "small";

/// Names of the models that are there: folders with weights in CANVASLAB_MODELS, or where the build or the installation
/// put them.
std::vector<std::string> embedded_models();

/// The folder of an embedded model ("small" is small-1, the training seed that does best); any other text as it is.
std::string model_folder(const std::string& model);

}  // namespace canvaslab
