// Matrix products against f64, every version, around the edges of tiles and panels.
#include "core/kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

std::vector<float> normals(size_t count, std::mt19937& engine) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> out(count);
  for (auto& x : out) x = normal(engine);
  return out;
}

/// A product with padded rows; what lies between rows of c must stay.
struct Case {
  int64_t m, n, k;
  bool transposed, accumulate;
  int64_t lda = k + 3, ldb = (transposed ? k : n) + 5, ldc = n + 2;
  std::vector<float> a, b, before;
  Case(int64_t rows, int64_t columns, int64_t depth, bool t, bool add, std::mt19937& engine)
      : m(rows), n(columns), k(depth), transposed(t), accumulate(add), a(normals(static_cast<size_t>(m * lda), engine)),
        b(normals(static_cast<size_t>((t ? n : k) * ldb), engine)), before(normals(static_cast<size_t>(m * ldc), engine)) {}
  float b_at(int64_t d, int64_t j) const { return b[static_cast<size_t>(transposed ? j * ldb + d : d * ldb + j)]; }
  std::vector<float> run(const GemmKernel& kernel) const {
    auto c = before;
    kernel.multiply({.m = m, .n = n, .k = k, .a = a.data(), .lda = lda, .b = b.data(), .ldb = ldb, .transposed = transposed, .c = c.data(), .ldc = ldc, .accumulate = accumulate});
    return c;
  }
  /// The same from packed columns.
  std::vector<float> run_packed(const GemmKernel& kernel) const {
    auto c = before;
    Product product{.m = m, .n = n, .k = k, .a = a.data(), .lda = lda, .b = b.data(), .ldb = ldb, .transposed = transposed, .c = c.data(), .ldc = ldc, .accumulate = accumulate};
    std::vector<float> memory(static_cast<size_t>(kernel.packed_size(n, k)));
    kernel.pack(product, memory.data());
    product.packed = memory.data();
    product.b = nullptr;
    kernel.multiply(product);
    return c;
  }
  /// Empty, or the worst element out of bounds: k and two roundings of at most 2^-24 of the running sum of magnitudes.
  std::string mistake(const std::vector<float>& c) const {
    const int64_t roundings = k + 2;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < ldc; ++j) {
        const auto at = static_cast<size_t>(i * ldc + j);
        double sum = j >= n || accumulate ? static_cast<double>(before[at]) : 0, size = std::abs(sum);
        for (int64_t d = 0; j < n && d < k; ++d) {
          const double term = static_cast<double>(a[static_cast<size_t>(i * lda + d)]) * static_cast<double>(b_at(d, j));
          sum += term;
          size += std::abs(term);
        }
        if (std::abs(static_cast<double>(c[at]) - sum) > (j < n ? 0x1p-24 * static_cast<double>(roundings) * size : 0))
          return "element (" + std::to_string(i) + ", " + std::to_string(j) + ") is " + std::to_string(c[at]) + ", expected " + std::to_string(sum);
      }
    }
    return "";
  }
};

TEST(Gemm, EveryVersionStaysWithinItsRoundingBoundAroundTheEdgesOfTiles) {
  std::mt19937 engine(1);
  for (int64_t m : {1, 2, 5, 6, 7, 11, 12, 13, 16, 25, 32, 33, 49}) {
    for (int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 70}) {
      for (int64_t k : {1, 4, 8, 15, 16, 33, 255, 256, 257, 513}) {
        const bool transposed = engine() % 2, accumulate = engine() % 2;
        const Case c(m, n, k, transposed, accumulate, engine);
        for (const GemmKernel& kernel : all_gemm_kernels()) {
          const auto result = c.run(kernel);
          EXPECT_EQ(c.mistake(result), "") << kernel.name << " m " << m << " n " << n << " k " << k << " transposed " << transposed << " accumulate " << accumulate;
          EXPECT_EQ(c.run_packed(kernel), result) << kernel.name << " m " << m << " n " << n << " k " << k << " transposed " << transposed;
        }
      }
    }
  }
}

TEST(Gemm, TheComparisonSeesOneWrongElement) {
  std::mt19937 engine(2);
  const Case c(9, 20, 40, true, false, engine);
  auto result = c.run(gemm_kernel());
  result[33] += 1e-3f;
  EXPECT_NE(c.mistake(result), "");
}

TEST(Gemm, NoRowsOrColumnsTouchNothing) {
  std::mt19937 engine(3);
  for (const GemmKernel& kernel : all_gemm_kernels()) {
    const Case none(0, 5, 4, true, false, engine), thin(3, 0, 4, false, false, engine);
    EXPECT_EQ(none.run(kernel), none.before);
    EXPECT_EQ(thin.run(kernel), thin.before);
  }
}

/// What batch invariance rests on: a row's bits do not depend on how many rows there are, on its place or alignment.
TEST(Gemm, ARowDoesNotDependOnItsNeighbours) {
  std::mt19937 engine(4);
  for (const GemmKernel& kernel : all_gemm_kernels()) {
    for (bool transposed : {false, true}) {
      const Case c(29, 45, 300, transposed, false, engine);
      const auto whole = c.run(kernel);
      for (int64_t row = 0; row < c.m; ++row) {
        std::vector<float> alone(static_cast<size_t>(c.n) + 1);
        float* out = alone.data() + row % 2;
        kernel.multiply({.m = 1, .n = c.n, .k = c.k, .a = c.a.data() + row * c.lda, .lda = c.lda, .b = c.b.data(), .ldb = c.ldb, .transposed = transposed, .c = out, .ldc = c.n});
        for (int64_t j = 0; j < c.n; ++j) ASSERT_EQ(out[j], whole[static_cast<size_t>(row * c.ldc + j)]) << kernel.name << " row " << row << " column " << j;
      }
    }
  }
}

}  // namespace
}  // namespace canvaslab
