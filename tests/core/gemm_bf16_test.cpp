// Products of bf16 operands against f64, every version, around the edges of tiles, panels and pairs.
#include "core/kernels/gemm_bf16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/row_ops.h"

namespace canvaslab {
namespace {

double value_of(uint16_t bits) { return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16)); }

std::vector<uint16_t> normals(size_t count, std::mt19937& engine) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> wide(count);
  for (auto& x : wide) x = normal(engine);
  std::vector<uint16_t> out(count);
  row_ops().to_bf16(wide.data(), count, out.data());
  return out;
}

/// A product with padded rows; what lies between rows of c must stay. Rows of b are an odd or even number apart.
struct Case {
  int64_t m, n, k;
  bool transposed, accumulate;
  int64_t lda, ldb, ldc;
  std::vector<uint16_t> a, b;
  std::vector<float> before;
  Case(int64_t rows, int64_t columns, int64_t depth, bool t, bool add, std::mt19937& engine)
      : m(rows), n(columns), k(depth), transposed(t), accumulate(add), lda((k + 1) / 2 * 2 + 4), ldb((t ? k : n) + static_cast<int64_t>(engine() % 3)), ldc(n + 2),
        a(normals(static_cast<size_t>(m * lda), engine)), b(normals(static_cast<size_t>((t ? n : k) * ldb), engine)), before(static_cast<size_t>(m * ldc)) {
    for (int64_t i = 0; k % 2 && i < m; ++i) a[static_cast<size_t>(i * lda + k)] = 0;
    for (auto& x : before) x = static_cast<float>(engine() % 100) * 0.01f;
  }
  double b_at(int64_t d, int64_t j) const { return value_of(b[static_cast<size_t>(transposed ? j * ldb + d : d * ldb + j)]); }
  Bf16Product product(std::vector<float>& c) const {
    return {.m = m, .n = n, .k = k, .a = a.data(), .lda = lda, .b = b.data(), .ldb = ldb, .transposed = transposed, .c = c.data(), .ldc = ldc, .accumulate = accumulate};
  }
  std::vector<float> run(const Bf16GemmKernel& kernel) const {
    auto c = before;
    kernel.multiply(product(c));
    return c;
  }
  std::vector<float> run_packed(const Bf16GemmKernel& kernel) const {
    auto c = before;
    auto p = product(c);
    std::vector<float> memory(static_cast<size_t>(kernel.packed_size(n, k)));
    kernel.pack(p, memory.data());
    p.packed = memory.data();
    p.b = nullptr;
    kernel.multiply(p);
    return c;
  }
  /// Empty, or the worst element out of bounds: products of bf16 are exact in f32, so k + 2 roundings of at most 2^-24 of the
  /// running sum of magnitudes; what vdpbf16ps flushes lies below 2^-126.
  std::string mistake(const std::vector<float>& c) const {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < ldc; ++j) {
        const auto at = static_cast<size_t>(i * ldc + j);
        double sum = j >= n || accumulate ? static_cast<double>(before[at]) : 0, size = std::abs(sum);
        for (int64_t d = 0; j < n && d < k; ++d) {
          const double term = value_of(a[static_cast<size_t>(i * lda + d)]) * b_at(d, j);
          sum += term;
          size += std::abs(term);
        }
        if (!(std::abs(static_cast<double>(c[at]) - sum) <= (j < n ? 0x1p-24 * static_cast<double>(k + 2) * size : 0)))
          return "element (" + std::to_string(i) + ", " + std::to_string(j) + ") is " + std::to_string(c[at]) + ", expected " + std::to_string(sum);
      }
    }
    return "";
  }
};

TEST(Bf16Gemm, EveryVersionStaysWithinItsRoundingBoundAroundTheEdgesOfTiles) {
  std::mt19937 engine(1);
  for (int64_t m : {1, 2, 4, 5, 7, 8, 11, 12, 13, 16, 25, 32, 33, 49}) {
    for (int64_t n : {1, 7, 8, 9, 16, 17, 31, 32, 33, 70}) {
      for (int64_t k : {1, 2, 3, 8, 15, 32, 33, 511, 512, 513, 1030}) {
        const bool transposed = engine() % 2, accumulate = engine() % 2;
        const Case c(m, n, k, transposed, accumulate, engine);
        for (const auto& kernel : all_bf16_gemm_kernels()) {
          const auto result = c.run(kernel);
          EXPECT_EQ(c.mistake(result), "") << kernel.name << " m " << m << " n " << n << " k " << k << " transposed " << transposed << " accumulate " << accumulate;
          EXPECT_EQ(c.run_packed(kernel), result) << kernel.name << " m " << m << " n " << n << " k " << k << " transposed " << transposed;
        }
      }
    }
  }
}

TEST(Bf16Gemm, TheComparisonSeesOneWrongElement) {
  std::mt19937 engine(2);
  const Case c(9, 20, 40, true, false, engine);
  auto result = c.run(bf16_gemm_kernel());
  result[33] += 1e-3f;
  EXPECT_NE(c.mistake(result), "");
}

TEST(Bf16Gemm, NoRowsOrColumnsTouchNothing) {
  std::mt19937 engine(3);
  for (const auto& kernel : all_bf16_gemm_kernels()) {
    const Case none(0, 5, 4, true, false, engine), thin(3, 0, 4, false, false, engine);
    EXPECT_EQ(none.run(kernel), none.before);
    EXPECT_EQ(thin.run(kernel), thin.before);
  }
}

TEST(Bf16Gemm, ARowDoesNotDependOnItsNeighbours) {
  std::mt19937 engine(4);
  for (const auto& kernel : all_bf16_gemm_kernels()) {
    for (bool transposed : {false, true}) {
      const Case c(29, 45, 600, transposed, false, engine);
      const auto whole = c.run(kernel);
      for (int64_t row = 0; row < c.m; ++row) {
        std::vector<float> alone(static_cast<size_t>(c.n) + 1);
        std::vector<uint16_t> copy(c.a.begin() + row * c.lda, c.a.begin() + row * c.lda + c.k);
        copy.insert(copy.begin(), static_cast<size_t>(row % 2), 0);  // at any alignment
        float* out = alone.data() + row % 2;
        kernel.multiply({.m = 1, .n = c.n, .k = c.k, .a = copy.data() + row % 2, .lda = c.lda, .b = c.b.data(), .ldb = c.ldb, .transposed = transposed, .c = out, .ldc = c.n});
        for (int64_t j = 0; j < c.n; ++j) ASSERT_EQ(out[j], whole[static_cast<size_t>(row * c.ldc + j)]) << kernel.name << " row " << row << " column " << j;
      }
    }
  }
}

}  // namespace
}  // namespace canvaslab
