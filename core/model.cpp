#include "core/model.h"

#include <filesystem>

#include "core/embedded_models.h"
#include "core/error.h"
#include "core/lora_config.h"

namespace canvaslab {

CheckpointLoader& checkpoint_loader() {
  static CheckpointLoader loader;
  return loader;
}

std::string text_folder(const std::string& name) {
  const std::string model = model_folder(name);
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) {
    const bool elsewhere = is_adapter_folder(model) && !std::filesystem::exists(model + "/tokenizer.json", ignored);
    return elsewhere ? LoraConfig::read(model).base_folder() : model;
  }
  if (!canonical_name(model).starts_with("checkpoint")) return "";
  const auto& entry = denoisers().find("checkpoint");
  const PluginExpr expr = parse_plugin(model);
  return canonical_name(expr.name) == entry.name ? text_folder(resolve_options(denoisers().kind(), entry.name, entry.parameters, expr).text("folder")) : "";
}

std::unique_ptr<Denoiser> open_model(const std::string& name, const ModelOptions& options) {
  const std::string model = model_folder(name);
  std::error_code ignored;
  if (options.dtype != "f32" && options.dtype != "bf16") throw usage_error("dtype '{}' is unknown; expected f32 or bf16", options.dtype);
  if (std::filesystem::is_directory(model, ignored)) {
    if (!checkpoint_loader()) throw usage_error("{}: this build holds no network", model);
    if (!is_adapter_folder(model)) return checkpoint_loader()(model, options);
    if (!options.adapter.empty()) throw usage_error("{}: is an adapter itself; give its base model's folder beside another one", model);
    ModelOptions with_adapter = options;
    with_adapter.adapter = model;
    return checkpoint_loader()(LoraConfig::read(model).base_folder(), with_adapter);
  }
  if (std::filesystem::exists(model, ignored))
    throw usage_error("{}: is a file; give the folder that holds config.json and *.safetensors", model);
  if (model.find('/') != std::string::npos && model.find('(') == std::string::npos)
    throw input_error("{}: no such folder; give a folder in Hugging Face layout (config.json, *.safetensors), or a denoiser such as hmm(states=16)", model);
  try {
    auto denoiser = denoisers().make(model);
    if (options.device != "cpu" && denoiser->facts().runs_on.empty()) throw usage_error("device {}: denoiser '{}' runs on the CPU; leave the device out", options.device, model);
    return denoiser;
  } catch (const UserError& error) {
    const auto embedded = embedded_models();
    if (model.find('(') != std::string::npos || embedded.empty()) throw;
    throw UserError(error.code(), fmt::format("{}\ntrained models that come with the project: {}", error.what(), fmt::join(embedded, ", ")));
  }
}

}  // namespace canvaslab
