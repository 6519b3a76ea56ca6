// checkpoint - a checkpoint folder by name, so that it can stand inside another denoiser: cfg(checkpoint("DIR"), scale=2).
#include <filesystem>

#include "core/embedded_models.h"
#include "core/error.h"
#include "core/model.h"

namespace canvaslab {
namespace {

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "checkpoint",
    .summary = "the network of a checkpoint folder, as --model FOLDER opens it; for use inside cfg, perturbed or checking",
    .source = "ours",
    .aliases = {},
    .parameters = {required_text_param("folder", "folder in Hugging Face layout (config.json, *.safetensors), or small"),
                   text_param("dtype", "f32", "of weights and activations; --dtype does not reach in here", {"f32", "bf16"}),
                   text_param("device", "cpu", "where it runs; --device does not reach in here", {"cpu", "cuda"}),
                   added_late(text_param("adapter", "", "folder of a LoRA adapter (adapter_config.json, adapter_model.safetensors), merged on loading"))},
    .facts = {},
    .make = [](const Options& options) -> std::unique_ptr<Denoiser> {
      const std::string folder = model_folder(options.text("folder"));
      std::error_code ignored;
      if (!std::filesystem::is_directory(folder, ignored)) throw input_error("denoiser 'checkpoint': {}: no such folder; give one in Hugging Face layout (config.json, *.safetensors)", folder);
      return open_model(folder, {.dtype = options.text("dtype"), .device = options.text("device"), .adapter = options.text("adapter")});
    }});

}  // namespace
}  // namespace canvaslab
