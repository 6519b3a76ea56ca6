#include "core/embedded_models.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace canvaslab {
namespace {

namespace fs = std::filesystem;

/// The first place that exists: the one asked for, beside an installed program, in the source tree.
std::string models_folder() {
  std::error_code ignored;
  if (const char* asked = std::getenv("CANVASLAB_MODELS")) return asked;
  const fs::path installed = fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path() / "share/canvaslab/models";
  if (fs::is_directory(installed, ignored)) return installed.string();
  return CANVASLAB_MODEL_FOLDER;
}

/// What a model's name without a training seed stands for.
constexpr const char* kUsedSeed = "-1";

bool has_weights(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "model.safetensors", ignored) && fs::exists(folder / "config.json", ignored);
}

}  // namespace

std::vector<std::string> embedded_models() {
  std::vector<std::string> out;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(models_folder(), missing))
    if (has_weights(entry.path())) out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

std::string model_folder(const std::string& model) {
  std::error_code ignored;
  if (model.empty() || model.find_first_of("/(") != std::string::npos || fs::exists(model, ignored)) return model;
  for (const std::string& name : {model, model + kUsedSeed})
    if (const fs::path folder = fs::path(models_folder()) / name; has_weights(folder)) return folder.string();
  return model;
}

}  // namespace canvaslab
