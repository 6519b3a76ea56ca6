#include "core/network/adamw.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

namespace canvaslab {

void adamw_by_operations(const AdamWStep& s, const at::Tensor& gradient, const AdamWTensors& t) {
  const c10::NoGradGuard no_grad;
  const double rate = static_cast<double>(s.learning_rate), beta1 = static_cast<double>(s.beta1), beta2 = static_cast<double>(s.beta2), decay = static_cast<double>(s.average_decay);
  const at::Tensor g = gradient * static_cast<double>(s.gradient_scale);
  t.moment1.mul_(beta1).add_(g, 1 - beta1);
  t.moment2.mul_(beta2).addcmul_(g, g, 1 - beta2);
  const at::Tensor size = t.moment2.sqrt().div_(std::sqrt(static_cast<double>(s.correction2))).add_(static_cast<double>(s.epsilon));
  t.weights.mul_(1 - rate * static_cast<double>(s.weight_decay)).addcdiv_(t.moment1, size, -rate / static_cast<double>(s.correction1));
  t.average.mul_(decay).add_(t.weights, 1 - decay);
}

void adamw_step(const AdamWStep& step, const at::Tensor& gradient, const AdamWTensors& t) {
  if (!t.weights.is_cpu()) return adamw_by_operations(step, gradient, t);
  const auto at = [](const at::Tensor& buffer) { return buffer.mutable_data_ptr<float>(); };
  adamw_step(step, gradient.const_data_ptr<float>(), static_cast<size_t>(t.weights.numel()), at(t.weights), at(t.moment1), at(t.moment2), at(t.average));
}

}  // namespace canvaslab
