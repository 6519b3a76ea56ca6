#pragma once
// Matrix products of bf16 operands with sums in f32, on one thread.
#include <cstdint>
#include <span>

namespace canvaslab {

/// Row-major c [m, n] f32 = a [m, k] b (+ c when `accumulate`), a and b as bf16 bits; rows lda, ldb, ldc apart.
struct Bf16Product {
  int64_t m = 0, n = 0, k = 0;
  const uint16_t* a = nullptr;   ///< rows hold k rounded up to even, a last odd element followed by a zero
  int64_t lda = 0;
  const uint16_t* b = nullptr;   ///< [k, n], or [n, k] when transposed
  int64_t ldb = 0;
  bool transposed = false;
  const float* packed = nullptr; ///< b as Bf16GemmKernel::pack left it; b itself is then not read
  float* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;
};

/// One instruction set's version. Sums run over k in order, in blocks of 512 (without an instruction for bf16, as gemm.h's of the same numbers; by AMX, in steps of 32: amx_body.inc), so a row of c
/// depends on its row of a and on b only, to the bit. Versions differ in how the two products of a pair are rounded; vdpbf16ps and AMX take subnormals as zero.
struct Bf16GemmKernel {
  const char* name;
  void (*multiply)(const Bf16Product& product);
  /// Lays out b for Bf16Product::packed: packed_size(n, k) floats, each a pair of bf16. The same bits come out as without.
  void (*pack)(const Bf16Product& product, float* out);
  int64_t columns;    ///< of a panel
  int64_t pairs = 1;  ///< what its depth is a multiple of
  int64_t packed_size(int64_t n, int64_t k) const { return (n + columns - 1) / columns * columns * (((k + 1) / 2 + pairs - 1) / pairs * pairs); }
};

const Bf16GemmKernel& bf16_gemm_kernel();
std::span<const Bf16GemmKernel> all_bf16_gemm_kernels();

}  // namespace canvaslab
