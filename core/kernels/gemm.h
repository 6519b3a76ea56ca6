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

/// One instruction set's version. Every sum runs over k in order, in blocks of 256: a
/// row of c depends on its row of a and on b only, to the bit, whatever m, the alignment and the neighbours. Versions differ by
/// fused multiply-adds.
struct GemmKernel {
  const char* name;
  void (*multiply)(const Product& product);
  /// Lays out b [k, n] (or [n, k]) for Product::packed: packed_size(n, k) floats. The same bits come out as without.
  void (*pack)(const Product& product, float* out);
  int64_t columns;  ///< of a panel
  int64_t packed_size(int64_t n, int64_t k) const { return (n + columns - 1) / columns * columns * k; }
};

/// The best of them. Not on AMX tiles, from three bf16 pieces a number: that was 11 to 20 % faster on one Sapphire Rapids and 20 %
/// slower on another, whose tiles were throttled, and had bits of its own.
const GemmKernel& gemm_kernel();
std::span<const GemmKernel> all_gemm_kernels();

}  // namespace canvaslab
