#include "core/kernels/gemm_bf16.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "core/kernels/buffer.h"
#include "core/kernels/instruction_set.h"

#if CANVASLAB_X86_VERSIONS
#include <immintrin.h>
#endif

namespace canvaslab {
namespace {

namespace plain {
constexpr size_t kWidth = 4;
constexpr int kRows = 4;
#include "core/kernels/panel_body.inc"
#include "core/kernels/pairs_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_bf16_widened_body.inc"
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr size_t kWidth = 8;
constexpr int kRows = 6;
#include "core/kernels/panel_body.inc"
#include "core/kernels/pairs_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_bf16_widened_body.inc"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
constexpr int kRows = 12;
#include "core/kernels/panel_body.inc"
#include "core/kernels/pairs_body.inc"
#include "core/kernels/gemm_tile_body.inc"
#include "core/kernels/gemm_bf16_widened_body.inc"
}  // namespace avx512
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,fma,prefer-vector-width=512")
namespace avx512_bf16 {
constexpr size_t kWidth = 16;
constexpr int kRows = 12;
#include "core/kernels/panel_body.inc"
#include "core/kernels/pairs_body.inc"
static inline Floats dot(Floats sum, Ints left, Floats right) { return (Floats)_mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right); }
#include "core/kernels/gemm_bf16_body.inc"
}  // namespace avx512_bf16
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,amx-tile,amx-bf16,fma,prefer-vector-width=512")
namespace amx {
constexpr size_t kWidth = 16;
#include "core/kernels/panel_body.inc"
#include "core/kernels/pairs_body.inc"
#include "core/kernels/amx_body.inc"
#include "core/kernels/gemm_bf16_amx_body.inc"
}  // namespace amx
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {Bf16GemmKernel{"plain", plain::multiply, plain::pack_panels, plain::kColumns},
#if CANVASLAB_X86_VERSIONS
                                  Bf16GemmKernel{"AVX2", avx2::multiply, avx2::pack_panels, avx2::kColumns},
                                  Bf16GemmKernel{"AVX-512", avx512::multiply, avx512::pack_panels, avx512::kColumns},
                                  Bf16GemmKernel{"AVX-512 BF16", avx512_bf16::multiply, avx512_bf16::pack_panels, avx512_bf16::kColumns},
                                  Bf16GemmKernel{"AMX", amx::multiply, amx::pack_all, amx::kColumns, amx::kTilePairs},
#endif
};

}  // namespace

std::span<const Bf16GemmKernel> all_bf16_gemm_kernels() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1 + has_bf16_products() + has_tile_products()); }

const Bf16GemmKernel& bf16_gemm_kernel() {
  static const Bf16GemmKernel& best = all_bf16_gemm_kernels().back();
  return best;
}

}  // namespace canvaslab
