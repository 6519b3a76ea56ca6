#include "core/model.h"

#include <filesystem>

#include "core/error.h"

namespace canvaslab {

CheckpointLoader& checkpoint_loader() {
  static CheckpointLoader loader;
  return loader;
}

std::unique_ptr<Denoiser> open_model(const std::string& model, const ModelOptions& options) {
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) {
    if (!checkpoint_loader()) throw usage_error("{}: this build holds no network", model);
    return checkpoint_loader()(model, options);
  }
  if (std::filesystem::exists(model, ignored))
    throw usage_error("{}: is a file; give the folder that holds config.json and *.safetensors", model);
  if (model.find('/') != std::string::npos && model.find('(') == std::string::npos)
    throw input_error("{}: no such folder; give a folder in Hugging Face layout (config.json, *.safetensors), or a denoiser such as hmm(states=16)", model);
  return denoisers().make(model);
}

}  // namespace canvaslab
