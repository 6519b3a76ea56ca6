#pragma once
// One step of AdamW with an average of the weights, on flat buffers.
#include <cstddef>

namespace canvaslab {

/// AdamW (Loshchilov and Hutter 2019, algorithm 2), the decay decoupled from the gradient, and an exponential average of
/// the weights as they move.
struct AdamWStep {
  float learning_rate, beta1, beta2, epsilon;
  float weight_decay;                 ///< per step: weights *= 1 - learning_rate * weight_decay
  float correction1, correction2;     ///< 1 - beta^t of the two moments, t counting from 1
  float gradient_scale;               ///< clipping: the gradient is multiplied by it
  float average_decay;                ///< average = decay * average + (1 - decay) * weight
};

/// All buffers [n] f32.
void adamw_step(const AdamWStep& step, const float* gradient, size_t n, float* weight, float* moment1, float* moment2, float* average);

}  // namespace canvaslab
