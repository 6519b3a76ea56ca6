#include "core/kernels/tile_sums.h"

#include <array>

#include "core/kernels/instruction_set.h"
#include "core/kernels/tile_arithmetic.h"

#if CANVASLAB_X86_VERSIONS
#include <immintrin.h>
#endif

namespace canvaslab {
namespace {

constexpr size_t kBlock = kTileBlock;
using Scale = TileScale;

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
