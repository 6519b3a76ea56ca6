#pragma once
// The network's row-wise arithmetic in f32, in vector instructions chosen at run time. Rows are contiguous, any length.
#include <cstddef>
#include <cstdint>
#include <span>

namespace canvaslab {

/// One instruction set's versions. Sums run over lanes, so versions may differ in the last bits; one version gives the
/// same bits for a row whatever its alignment and neighbours. Exponentials within 2e-7 relative.
struct RowOps {
  const char* name;
  /// y = x / sqrt(mean(x^2) + eps) [* w]; w may be null, y may be x.
  void (*rms_norm)(const float* x, const float* w, float eps, size_t n, float* y);
  void (*rms_norm_bf16)(const float* x, const float* w, float eps, size_t n, uint16_t* y);  ///< the same, rounded
  /// x += norm of a with w.
  void (*add_norm)(const float* a, const float* w, float eps, size_t n, float* x);
  /// y += a * x
  void (*add_scaled)(float a, const float* x, size_t n, float* y);
  /// out = gelu(gate) * up, gelu by its tanh form.
  void (*gelu_times)(const float* gate, const float* up, size_t n, float* out);
  void (*gelu_times_bf16)(const float* gate, const float* up, size_t n, uint16_t* out);  ///< the same, rounded
  /// y = softmax(x * factor), y may be x; factor > 0. -inf gives 0; at least one must be finite.
  void (*softmax)(const float* x, size_t n, float factor, float* y);
  /// Pairs (x[t], x[t + half]) turned by the angles of cos, sin [half], in place.
  void (*rotate)(float* x, const float* cos, const float* sin, size_t half);
  /// x = cap * tanh(x / cap), in place.
  void (*soft_cap)(float* x, size_t n, float cap);
  /// The largest of x; n > 0.
  float (*largest)(const float* x, size_t n);
  /// x = e^(x - top), in place, top at least the largest; their sum.
  float (*exponentials)(float* x, size_t n, float top);
  /// y = e^(x - top) as bf16, within 1.2e-5 before the rounding, top at least the largest; the sum of what is stored.
  float (*exponentials_bf16)(const float* x, size_t n, float top, uint16_t* y);
  void (*scale)(float factor, size_t n, float* x);
  /// Indices of the elements that are at least `least`, in order; `most + 1`, with `index` undefined, when there are more than `most`.
  size_t (*pick)(const float* x, size_t n, float least, size_t most, int32_t* index);
  /// The nearest bf16, ties to even; its bits.
  void (*to_bf16)(const float* x, size_t n, uint16_t* y);
  /// y = a * x and y += a * x for x in bf16.
  void (*scaled_bf16)(float a, const uint16_t* x, size_t n, float* y);
  void (*add_scaled_bf16)(float a, const uint16_t* x, size_t n, float* y);
};

const RowOps& row_ops();
std::span<const RowOps> all_row_ops();

}  // namespace canvaslab
