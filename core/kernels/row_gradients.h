#pragma once
// What training adds to row_ops.h: the same arithmetic's derivatives, in f32, in vector instructions chosen at run time.
#include <cstddef>
#include <span>

namespace canvaslab {

/// One instruction set's versions; rows as in RowOps. d* are derivatives of the loss by *.
struct RowGradients {
  const char* name;
  /// For y = rms_norm(x) [* w]: dx from dy; dw += when not null. dx may be dy.
  void (*rms_norm)(const float* x, const float* w, float eps, const float* dy, size_t n, float* dx, float* dw);
  /// For out = gelu(gate) * up.
  void (*gelu_times)(const float* gate, const float* up, const float* dout, size_t n, float* dgate, float* dup);
  /// Cross-entropy in nats of softmax(cap * tanh(raw / cap)) to `target`, and its derivative by raw, times `scale`.
  float (*capped_cross_entropy)(const float* raw, size_t n, float cap, size_t target, float scale, float* draw);
  float (*dot)(const float* a, const float* b, size_t n);
};

const RowGradients& row_gradients();
std::span<const RowGradients> all_row_gradients();

}  // namespace canvaslab
