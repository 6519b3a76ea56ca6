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
  float* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;
};

/// One instruction set's version. Every sum runs over k in order, in blocks of 256: a row of c depends on its row of a
/// and on b only, to the bit, whatever m, the alignment and the neighbours. Versions differ by fused multiply-adds.
struct GemmKernel {
  const char* name;
  void (*multiply)(const Product& product);
};

const GemmKernel& gemm_kernel();
std::span<const GemmKernel> all_gemm_kernels();

}  // namespace canvaslab
