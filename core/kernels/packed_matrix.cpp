#include "core/kernels/packed_matrix.h"

#include <array>
#include <cstddef>

#include "core/kernels/dequantise.h"
#include "core/kernels/gemm.h"
#include "core/kernels/instruction_set.h"
#include "core/kernels/stored_scale.h"

namespace canvaslab {
namespace {

#define CANVASLAB_KERNEL_BODY "core/kernels/packed_matrix_body.inc"
#include "core/kernels/every_instruction_set.inc"
#undef CANVASLAB_KERNEL_BODY

constexpr std::array kVersions = {UnpackKernel{"plain", plain::unpack},
#if CANVASLAB_X86_VERSIONS
                                  UnpackKernel{"AVX2", avx2::unpack}, UnpackKernel{"AVX-512", avx512::unpack},
#endif
};

constexpr int64_t kRows = 32, kDepth = 256;  // 32 KiB unpacked; the depth is that of gemm.h's sums

}  // namespace

std::span<const UnpackKernel> all_unpack_kernels() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const UnpackKernel& unpack_kernel() {
  static const UnpackKernel& best = all_unpack_kernels().back();
  return best;
}

void multiply_packed(const float* a, int64_t lda, int64_t m, const PackedMatrix& w, float* c, int64_t ldc) {
  if (m == 0) return;
  alignas(64) float unpacked[kRows * kDepth];
  for (int64_t row = 0; row < w.rows; row += kRows) {
    const int64_t rows = w.rows - row < kRows ? w.rows - row : kRows;
    for (int64_t column = 0; column < w.columns; column += kDepth) {
      const int64_t depth = w.columns - column < kDepth ? w.columns - column : kDepth;
      unpack_kernel().unpack(w, row, rows, column, depth, unpacked, kDepth);
      gemm_kernel().multiply({.m = m, .n = rows, .k = depth, .a = a + column, .lda = lda, .b = unpacked, .ldb = kDepth, .transposed = true, .c = c + row, .ldc = ldc, .accumulate = column > 0});
    }
  }
}

}  // namespace canvaslab
