#pragma once
// The CPU network as a denoiser.
#include <memory>

#include "core/denoiser.h"
#include "core/network/cpu_network.h"

namespace canvaslab {

/// Denoises one row after another on the calling thread. Logits are made some rows at a time, and kept only when asked for.
std::unique_ptr<Denoiser> cpu_denoiser(CpuNetwork network, DenoiserFacts facts);

}  // namespace canvaslab
