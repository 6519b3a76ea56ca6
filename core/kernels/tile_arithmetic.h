#pragma once
// The arithmetic of tile_sums.h for one element, as the GPU's threads do it: the same operations in the same order, so the same bits.
#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/kernels/host_device.h"

namespace canvaslab {

/// Elements whose f32 partial sums are added up before f64 takes over: rounding below 16 * 2^-25 of the sum.
inline constexpr size_t kTileBlock = 512;

/// x - m becomes a power of two's exponent by one f32 factor; what its rounding changes is put right to first order.
struct TileScale {
  float to_base_2;
  double true_over_rounded;

  CANVASLAB_HOST_DEVICE explicit TileScale(double inverse_t) {
    constexpr double kLog2E = 1.4426950408889634074;
    // Beyond 2^100 every difference between distinct logits above 2^-93 in size is already a zero weight.
    constexpr double kMost = 0x1p100;
    const double exact = inverse_t * kLog2E;
    to_base_2 = static_cast<float>(exact < kMost ? exact : kMost);
    true_over_rounded = exact < kMost ? exact / static_cast<double>(to_base_2) : 1;
  }
  /// From sums with d rounded and in base 2 to z and s of tile_sums.h. d z / d ln(factor) = s.
  CANVASLAB_HOST_DEVICE void correct(double& z, double& s) const {
    constexpr double kLn2 = 0.69314718055994530942;
    s *= kLn2;
    z = z + (true_over_rounded - 1) * s;
    s = s * true_over_rounded;
  }
};

/// d in base 2, held above the end of the range: -inf times a weight of 0 would be NaN.
CANVASLAB_HOST_DEVICE float tile_exponent(float x, float top, float factor) {
  const float y = (x - top) * factor;
  return y > -127.0f ? y : -127.0f;
}

/// 2^y for y in [-127, 0], 0 below 2^-126.5: see tile_sums_body.inc, whose vectors do this.
CANVASLAB_HOST_DEVICE float tile_power_of_two(float y) {
  const float magic = 12582912.0f + 127.0f;
  const float shifted = y + magic;
  const float r = y - (shifted - magic);
  float p = r * 0x1.5bba14p-10f + 0x1.3cea88p-7f;
  p = p * r + 0x1.c6b752p-5f;
  p = p * r + 0x1.ebf9bcp-3f;
  p = p * r + 0x1.62e42ap-1f;
  p = p * r + 1.0f;
  return p * std::bit_cast<float>(std::bit_cast<uint32_t>(shifted) << 23);
}

}  // namespace canvaslab
