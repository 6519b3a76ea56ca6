#include "core/kernels/gemm.h"

#include <array>
#include <cstddef>
#include <utility>

#include "core/kernels/instruction_set.h"

#if CANVASLAB_X86_VERSIONS
#include <immintrin.h>
#endif

namespace canvaslab {
namespace {

constexpr int64_t kDepth = 256;  // a panel of 16 columns is 16 KiB: half the first-level cache

namespace plain {
constexpr size_t kWidth = 4;
constexpr int kRows = 4;  // 8 sums of the 16 vector registers
#include "core/kernels/panel_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_body.inc"
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr size_t kWidth = 8;
constexpr int kRows = 6;  // 12 sums of the 16 vector registers
#include "core/kernels/panel_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_body.inc"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
constexpr int kRows = 12;  // 24 sums of the 32 vector registers
#include "core/kernels/panel_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_body.inc"
}  // namespace avx512
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {GemmKernel{"plain", plain::multiply, plain::pack_all, plain::kColumns},
#if CANVASLAB_X86_VERSIONS
                                  GemmKernel{"AVX2", avx2::multiply, avx2::pack_all, avx2::kColumns},
                                  GemmKernel{"AVX-512", avx512::multiply, avx512::pack_all, avx512::kColumns},
#endif
};

}  // namespace

std::span<const GemmKernel> all_gemm_kernels() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const GemmKernel& gemm_kernel() {
  static const GemmKernel& best = all_gemm_kernels()[static_cast<size_t>(instruction_set())];
  return best;
}

}  // namespace canvaslab
