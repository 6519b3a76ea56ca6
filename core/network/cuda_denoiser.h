#pragma once
// The kernels' network as a denoiser.
#include <memory>

#include "core/denoiser.h"
#include "core/network/cuda_network.h"

namespace canvaslab {

/// All rows of a call go through the network together. Logits and predictions stay on the device; statistics are made there, and logits come to the host only when they are asked for or when a request has filters
/// or statistics that the kernels do not make (kDivergence, kAlternative). Calls from several threads take turns; those that wait are answered together.
std::unique_ptr<Denoiser> cuda_denoiser(CudaNetwork network, DenoiserFacts facts);

}  // namespace canvaslab
