#pragma once
// MODEL on the command line and in sweep files: a checkpoint folder, a plug-in expression, or an embedded model's name.
#include <functional>
#include <memory>
#include <string>

#include "core/denoiser.h"

namespace canvaslab {

struct ModelOptions {
  std::string dtype = "f32";   ///< f32 or bf16
  std::string device = "cpu";  ///< cpu or cuda
  std::string adapter = {};    ///< folder of a LoRA adapter for it, merged on loading; empty: none
};

/// Loads a checkpoint folder as a denoiser. Set by the network's own file, so that nothing else sees torch.
using CheckpointLoader = std::function<std::unique_ptr<Denoiser>(const std::string& folder, const ModelOptions& options)>;

CheckpointLoader& checkpoint_loader();

/// Where the texts of MODEL come from, the folder of tokenizer and template: a checkpoint folder itself, of an adapter folder
/// without a tokenizer its base, of checkpoint("DIR", ...) its DIR; empty for other denoisers.
std::string text_folder(const std::string& model);

/// MODEL may also be the folder of a LoRA adapter that names its base.
/// Errors: usage when the text is neither a folder nor a known denoiser.
std::unique_ptr<Denoiser> open_model(const std::string& model, const ModelOptions& options);

}  // namespace canvaslab
