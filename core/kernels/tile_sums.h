#pragma once
// Softmax sums over one tile of a row of logits, in vector arithmetic chosen at run time.
#include <cstddef>
#include <span>

namespace canvaslab {

/// Elements per tile: 4 KiB of logits, well inside the first-level cache, so that its two looks cost one read of memory.
inline constexpr size_t kTile = 1024;
/// Elements that are summed side by side: tiles are padded to multiples of it with -inf.
inline constexpr size_t kLanes = 32;

/// A tile's sums in units of its own maximum m: z = sum e^d, s = sum d e^d, d = (x - m) * inverse_t.
struct TileSums {
  double z = 0, s = 0;
};

/// One instruction set's versions of the same arithmetic: f32 without fused multiply-add, 32 lanes whose partial sums
/// over 512 elements are added in f64 in a fixed order. All give the same bits; `plain` is the definition.
/// Accuracy: e^d within kExpError relative for the rounded d (three f32 roundings of relative 2^-24), 0 below 2^-126.
struct TileKernels {
  const char* name;
  /// Largest of x[0, n); false when any is NaN or +inf. n is a multiple of kLanes.
  bool (*maximum)(const float* x, size_t n, float* out);
  /// Sums relative to m, which must be finite and at least every x. Asks for the memory of `next` meanwhile (may be null).
  TileSums (*sums)(const float* x, size_t n, float m, double inverse_t, const float* next);
  /// out[i] = e^d of every element, the terms of z before rounding in the sum.
  void (*weights)(const float* x, size_t n, float m, double inverse_t, float* out);
};

inline constexpr double kExpError = 2.5e-7;  ///< of the polynomial with its roundings, tested over its whole range

/// The fastest kernels this processor runs.
const TileKernels& tile_kernels();
/// Every version this processor runs, the plain one first.
std::span<const TileKernels> all_tile_kernels();

}  // namespace canvaslab
