#pragma once
// A checkpoint on the network's tensors as a denoiser.
#include <memory>
#include <string>

#include "core/model.h"

namespace canvaslab {

/// Loads a checkpoint folder and infers by the path that trains and runs on GPUs, on any device; open_model takes the faster
/// CpuNetwork on CPUs. Errors: usage errors for options that do not exist or have no device here.
std::unique_ptr<Denoiser> tensor_denoiser(const std::string& folder, const ModelOptions& options);

}  // namespace canvaslab
