#include "core/kernels/adamw.h"

#include <cmath>

namespace canvaslab {

void adamw_step(const AdamWStep& s, const float* __restrict gradient, size_t n, float* __restrict weight, float* __restrict moment1, float* __restrict moment2, float* __restrict average) {
  const float shrink = 1 - s.learning_rate * s.weight_decay, rate = s.learning_rate / s.correction1, root = 1 / std::sqrt(s.correction2);
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float m = s.beta1 * moment1[i] + (1 - s.beta1) * g, v = s.beta2 * moment2[i] + (1 - s.beta2) * g * g;
    const float w = weight[i] * shrink - rate * m / (std::sqrt(v) * root + s.epsilon);
    moment1[i] = m;
    moment2[i] = v;
    weight[i] = w;
    average[i] = s.average_decay * average[i] + (1 - s.average_decay) * w;
  }
}

}  // namespace canvaslab
