#include "core/model.h"

#include <filesystem>

#include "core/embedded_models.h"
#include "core/error.h"

namespace canvaslab {

CheckpointLoader& checkpoint_loader() {
  static CheckpointLoader loader;
  return loader;
}

std::unique_ptr<Denoiser> open_model(const std::string& name, const ModelOptions& options) {
  const std::string model = model_folder(name);
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) {
    if (!checkpoint_loader()) throw usage_error("{}: this build holds no network", model);
    return checkpoint_loader()(model, options);
  }
  if (std::filesystem::exists(model, ignored))
    throw usage_error("{}: is a file; give the folder that holds config.json and *.safetensors", model);
  if (model.find('/') != std::string::npos && model.find('(') == std::string::npos)
    throw input_error("{}: no such folder; give a folder in Hugging Face layout (config.json, *.safetensors), or a denoiser such as hmm(states=16)", model);
  try {
    return denoisers().make(model);
  } catch (const UserError& error) {
    const auto embedded = embedded_models();
    if (model.find('(') != std::string::npos || embedded.empty()) throw;
    throw UserError(error.code(), fmt::format("{}\ntrained models that come with the project: {}", error.what(), fmt::join(embedded, ", ")));
  }
}

}  // namespace canvaslab
