#pragma once
// The draw of torch.multinomial(softmax(logits / T), 1) from torch's own stream: the race of exponentials.
#include <cstdint>
#include <span>

#include "core/torch_random.h"

namespace canvaslab {

/// Argmax over v of (w[v] / sum w) / q[v], all in f32, w = exp(x / T - max), q ~ Exp(1): two outputs per element, in
/// order. The plain loop: every element exactly. Logits must be a distribution, T > 0.
int32_t draw_torch_candidate_plain(std::span<const float> logits, float temperature, TorchGenerator& generator);

/// The same token from the same outputs, with logarithms for the few elements that can win only. `largest` is the
/// greatest logit. Where the race is closer than the bounds of this arithmetic, the plain loop decides.
int32_t draw_torch_candidate(std::span<const float> logits, float temperature, float largest, TorchGenerator& generator);

}  // namespace canvaslab
