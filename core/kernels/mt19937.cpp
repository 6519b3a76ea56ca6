#include "core/kernels/mt19937.h"

#include <array>

#include "core/kernels/instruction_set.h"

#if CANVASLAB_X86_VERSIONS
#include <immintrin.h>
#endif

namespace canvaslab {
namespace {

namespace plain {
constexpr size_t kWidth = 4;
#define EVEN(a, b) Words{(a)[0], (a)[2], (b)[0], (b)[2]}
#include "core/kernels/mt19937_body.inc"
#undef EVEN
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
constexpr size_t kWidth = 8;
#define EVEN(a, b) __builtin_shuffle(a, b, Words{0, 2, 4, 6, 8, 10, 12, 14})
#include "core/kernels/mt19937_body.inc"
#undef EVEN
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
#define EVEN(a, b) __builtin_shuffle(a, b, Words{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30})
#include "core/kernels/mt19937_body.inc"
#undef EVEN
}  // namespace avx512
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {MtKernels{"plain", plain::twist, plain::temper, plain::any_contender},
#if CANVASLAB_X86_VERSIONS
                                  MtKernels{"AVX2", avx2::twist, avx2::temper, avx2::any_contender},
                                  MtKernels{"AVX-512", avx512::twist, avx512::temper, avx512::any_contender},
#endif
};

}  // namespace

std::span<const MtKernels> all_mt_kernels() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const MtKernels& mt_kernels() {
  static const MtKernels& best = all_mt_kernels().back();
  return best;
}

}  // namespace canvaslab
