#pragma once
// One step of AdamW on tensors, wherever they are.
#include <ATen/core/Tensor.h>

#include "core/kernels/adamw.h"

namespace canvaslab {

/// What a step changes: weights, both moments and the weights' average, [n] f32 each on one device.
struct AdamWTensors {
  at::Tensor weights, moment1, moment2, average;
};

/// core/kernels/adamw.h on the CPU, adamw_by_operations elsewhere.
void adamw_step(const AdamWStep& step, const at::Tensor& gradient, const AdamWTensors& tensors);

/// The same formula by LibTorch's operations, equal up to rounding.
void adamw_by_operations(const AdamWStep& step, const at::Tensor& gradient, const AdamWTensors& tensors);

}  // namespace canvaslab
