#include "core/kernels/tile_sums.h"

#include <array>
#include <numbers>

#include "core/kernels/instruction_set.h"

#if CANVASLAB_X86_VERSIONS
#include <immintrin.h>
#endif

namespace canvaslab {
namespace {

constexpr size_t kBlock = 512;  // f32 partial sums take 16 terms each: rounding below 16 * 2^-25 of the sum

/// x - m becomes a power of two's exponent by one f32 factor; what its rounding changes is put right to first order.
struct Scale {
  float to_base_2;
  double true_over_rounded;
  explicit Scale(double inverse_t) {
    // Beyond 2^100 every difference between distinct logits above 2^-93 in size is already a zero weight.
    constexpr double kMost = 0x1p100;
    const double exact = inverse_t * std::numbers::log2e;
    to_base_2 = static_cast<float>(exact < kMost ? exact : kMost);
    true_over_rounded = exact < kMost ? exact / static_cast<double>(to_base_2) : 1;
  }
  /// From sums with d rounded and in base 2. d z / d ln(factor) = s.
  TileSums correct(double z, double s) const {
    s *= std::numbers::ln2;
    return {z + (true_over_rounded - 1) * s, s * true_over_rounded};
  }
};

namespace plain {
constexpr size_t kWidth = 4;  // what every 64-bit processor has
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#include "core/kernels/tile_sums_body.inc"
#undef LARGER
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
constexpr size_t kWidth = 8;
#define LARGER(a, b) _mm256_max_ps(a, b)
#include "core/kernels/tile_sums_body.inc"
#undef LARGER
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
#define LARGER(a, b) __builtin_ia32_maxps512_mask(a, b, a, static_cast<unsigned short>(-1), _MM_FROUND_CUR_DIRECTION)
#include "core/kernels/tile_sums_body.inc"
#undef LARGER
}  // namespace avx512
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {TileKernels{"plain", plain::maximum, plain::sums, plain::weights},
#if CANVASLAB_X86_VERSIONS
                                  TileKernels{"AVX2", avx2::maximum, avx2::sums, avx2::weights},
                                  TileKernels{"AVX-512", avx512::maximum, avx512::sums, avx512::weights},
#endif
};

}  // namespace

std::span<const TileKernels> all_tile_kernels() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const TileKernels& tile_kernels() {
  static const TileKernels& best = all_tile_kernels().back();
  return best;
}

}  // namespace canvaslab
