#pragma once
// Matrix products in f32 on one thread, for the shapes of a denoising step: tens to hundreds of rows.
#include <cstdint>
#include <span>

namespace canvaslab {

/// Row-major c [m, n] = a [m, k] b (+ c when `accumulate`); rows lda, ldb, ldc apart.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  const float* b = nullptr;      ///< [k, n], or [n, k] when transposed
  int64_t ldb = 0;
  bool transposed = false;
  const float* packed = nullptr; ///< b as GemmKernel::pack left it; b itself is then not read
  float* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;
};

/// One instruction set's version. Every sum runs over k in order, in blocks of 256 (by AMX, in steps of 32: amx_body.inc): a
/// row of c depends on its row of a and on b only, to the bit, whatever m, the alignment and the neighbours. Versions differ by
/// fused multiply-adds; AMX's, which splits numbers into bf16 pieces, makes NaN of what is infinite or beyond 3.38e38, and zero
/// of pieces below 2^-126.
struct GemmKernel {
  const char* name;
  void (*multiply)(const Product& product);
  /// Lays out b [k, n] (or [n, k]) for Product::packed: packed_size(n, k) floats. The same bits come out as without.
  void (*pack)(const Product& product, float* out);
  int64_t columns;     ///< of a panel
  int64_t depth = 1;   ///< what its depth is a multiple of
  int64_t pieces = 0;  ///< bf16 that stand for one number there; 0: it stands there itself
  int64_t packed_size(int64_t n, int64_t k) const {
    const int64_t numbers = (n + columns - 1) / columns * columns * ((k + depth - 1) / depth * depth);
    return pieces ? numbers / 2 * pieces : numbers;
  }
};

/// The best for right-hand sides that are met once, or not laid out.
const GemmKernel& gemm_kernel();
/// The best for weights [n, k] that are laid out once; a matter of their size alone, so that results are not one of m.
const GemmKernel& gemm_kernel_for(int64_t n, int64_t k);
std::span<const GemmKernel> all_gemm_kernels();

}  // namespace canvaslab
