// Packed matrices: what unpacking gives, and products with them.
#include "core/kernels/packed_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/dequantise.h"
#include "core/kernels/gemm.h"

namespace canvaslab {
namespace {

const Packing kAll[] = {Packing::kF32, Packing::kBf16, Packing::kF16, Packing::kE4m3, Packing::kInt4, Packing::kNvfp4, Packing::kQ8_0,
                        Packing::kQ5_0, Packing::kQ5_1, Packing::kIq4Nl, Packing::kQ4K, Packing::kQ5K, Packing::kQ6K};

/// Random codes and scales without infinities and NaN. Owns what the view points at.
struct Packed {
  std::vector<uint8_t> codes, scales;
  PackedMatrix matrix;
  Packed(Packing packing, int64_t rows, int64_t columns, std::mt19937& engine) {
    matrix = {.packing = packing, .rows = rows, .columns = columns};
    codes.resize(static_cast<size_t>(rows * matrix.row_bytes()));
    for (auto& byte : codes) byte = static_cast<uint8_t>(engine());
    const int64_t block_bytes = facts_of(packing).block_bytes;
    const auto soften = [&](size_t at, uint8_t mask) { codes[at] = static_cast<uint8_t>((codes[at] & mask) | 0x20); };
    for (size_t i = 0; i < codes.size(); i += static_cast<size_t>(block_bytes)) {
      const size_t last = i + static_cast<size_t>(block_bytes) - 1;
      switch (packing) {
        case Packing::kF32: soften(last, 0xBF & 0xBE); break;
        case Packing::kBf16: case Packing::kF16: soften(last, 0xA3); break;
        case Packing::kE4m3: if ((codes[i] & 0x7F) == 0x7F) codes[i] = 0; break;
        case Packing::kInt4: case Packing::kNvfp4: break;
        case Packing::kQ6K: soften(last, 0xA3); break;
        case Packing::kQ5_1: case Packing::kQ4K: case Packing::kQ5K: soften(i + 1, 0xA3); soften(i + 3, 0xA3); break;
        default: soften(i + 1, 0xA3);
      }
    }
    if (packing == Packing::kE4m3) put_scales(1, Packing::kBf16, engine);
    if (packing == Packing::kInt4) put_scales(columns / 32, Packing::kF16, engine);
    if (packing == Packing::kNvfp4) put_scales(columns / 16, Packing::kE4m3, engine), matrix.matrix_scale = 37.5f, matrix.divides = true;
    matrix.codes = codes.data();
    matrix.scales = scales.empty() ? nullptr : scales.data();
  }
  void put_scales(int64_t per_row, Packing packing, std::mt19937& engine) {
    matrix.scales_per_row = per_row;
    matrix.scale_packing = packing;
    for (int64_t i = 0; i < matrix.rows * per_row; ++i) {
      if (packing != Packing::kE4m3) scales.push_back(static_cast<uint8_t>(engine()));
      scales.push_back(static_cast<uint8_t>(packing == Packing::kE4m3 ? engine() % 0x7F : 0x20 | engine() % 4));
    }
  }
  /// One element by dequantise.h's functions.
  float element(int64_t r, int64_t k) const {
    const PackedMatrix& m = matrix;
    const int64_t size = facts_of(m.packing).block, within = k % size;
    const uint8_t* block = codes.data() + r * m.row_bytes() + k / size * facts_of(m.packing).block_bytes;
    const int i = static_cast<int>(within);
    const auto scale16 = [&](int64_t index) { return gguf::half_at(scales.data() + 2 * index); };
    const auto nibble = static_cast<uint8_t>(m.packing == Packing::kInt4 || m.packing == Packing::kNvfp4 ? *block >> (4 * (k % 2)) & 15 : 0);
    float plain = 0;
    switch (m.packing) {
      case Packing::kF32: __builtin_memcpy(&plain, block, 4); return plain;
      case Packing::kBf16: return from_bf16(gguf::half_at(block));
      case Packing::kF16: return from_f16(gguf::half_at(block));
      case Packing::kE4m3: return from_e4m3(*block) * from_bf16(scale16(r));
      case Packing::kInt4: return from_int4(nibble) * from_f16(scale16(r * m.scales_per_row + k / 32));
      case Packing::kNvfp4: return from_e2m1(nibble) * nvfp4_scale(scales[static_cast<size_t>(r * m.scales_per_row + k / 16)], m.matrix_scale, m.divides);
      case Packing::kQ8_0: return gguf::q8_0(block, i);
      case Packing::kQ5_0: return gguf::q5_0(block, i);
      case Packing::kQ5_1: return gguf::q5_1(block, i);
      case Packing::kIq4Nl: return gguf::iq4_nl(block, i);
      case Packing::kQ4K: return gguf::q4_k(block, i);
      case Packing::kQ5K: return gguf::q5_k(block, i);
      case Packing::kQ6K: return gguf::q6_k(block, i);
    }
    return 0;
  }
  std::vector<float> unpacked() const {
    std::vector<float> out;
    for (int64_t r = 0; r < matrix.rows; ++r)
      for (int64_t k = 0; k < matrix.columns; ++k) out.push_back(element(r, k));
    return out;
  }
};

TEST(PackedMatrix, EveryVersionUnpacksEveryPackingToTheBit) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  for (const Packing packing : kAll) {
    for (int64_t columns : {256, 768, 512 + (facts_of(packing).block == 256 ? 0 : 96)}) {
      const Packed packed(packing, 5, columns, engine);
      const auto expected = packed.unpacked();
      for (const UnpackKernel& kernel : all_unpack_kernels()) {
        for (int64_t first = 0; first < columns; first += 256) {
          const int64_t count = std::min<int64_t>(columns - first, first == 0 ? 256 : 512);
          std::vector<float> out(static_cast<size_t>(3 * (count + 1)), -7.5f);
          kernel.unpack(packed.matrix, 2, 3, first, count, out.data(), count + 1);
          for (int64_t r = 0; r < 3; ++r) {
            for (int64_t k = 0; k < count; ++k)
              ASSERT_EQ(out[static_cast<size_t>(r * (count + 1) + k)], expected[static_cast<size_t>((r + 2) * columns + first + k)])
                  << facts_of(packing).name << " " << kernel.name << " row " << r + 2 << " column " << first + k << " seed " << seed;
            EXPECT_EQ(out[static_cast<size_t>(r * (count + 1) + count)], -7.5f) << "wrote beyond the row";
          }
        }
      }
    }
  }
}

TEST(PackedMatrix, OneScaleMayServeAllRows) {
  const uint8_t codes[] = {0x38, 0x40, 0xB8, 0x7E}, scale[] = {0x00, 0x00, 0x00, 0x3F};  // 1, 2, -1, 448; 0.5 in f32
  const PackedMatrix m{.packing = Packing::kE4m3, .rows = 2, .columns = 2, .codes = codes, .scales = scale};
  float out[4];
  unpack_kernel().unpack(m, 0, 2, 0, 2, out, 2);
  EXPECT_EQ(std::vector<float>(out, out + 4), (std::vector<float>{0.5f, 1, -0.5f, 224}));
  EXPECT_EQ(m.bytes(), 8);
}

std::vector<float> normals(size_t count, std::mt19937& engine) {
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> out(count);
  for (auto& x : out) x = normal(engine);
  return out;
}

/// Empty, or the worst element out of bounds: one rounding of at most 2^-24 of the running sum of magnitudes a term.
std::string mistake(const std::vector<float>& a, const std::vector<float>& w, const std::vector<float>& c, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, size = 0;
      for (int64_t d = 0; d < k; ++d) {
        const double term = static_cast<double>(a[static_cast<size_t>(i * k + d)]) * static_cast<double>(w[static_cast<size_t>(j * k + d)]);
        sum += term;
        size += std::abs(term);
      }
      const double got = static_cast<double>(c[static_cast<size_t>(i * n + j)]);
      if (!(std::abs(got - sum) <= 0x1p-24 * static_cast<double>(k + 2) * size)) return "element (" + std::to_string(i) + ", " + std::to_string(j) + ") is " + std::to_string(got) + ", expected " + std::to_string(sum);
    }
  }
  return "";
}

/// Against f64 within the bound of the sum, against the product with the unpacked matrix to the bit; a row alone and among others.
TEST(PackedMatrix, ProductsAreThoseWithTheUnpackedMatrix) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  for (const Packing packing : kAll) {
    for (int64_t m : {1, 7, 13}) {
      const int64_t n = 70, k = facts_of(packing).block == 256 ? 768 : 608;
      const Packed packed(packing, n, k, engine);
      const auto a = normals(static_cast<size_t>(m * k), engine), w = packed.unpacked();
      std::vector<float> c(static_cast<size_t>(m * n)), dense(c.size()), alone(static_cast<size_t>(n));
      multiply_packed(a.data(), k, m, packed.matrix, c.data(), n);
      EXPECT_EQ(mistake(a, w, c, m, n, k), "") << facts_of(packing).name << " m " << m << " seed " << seed;
      gemm_kernel().multiply({.m = m, .n = n, .k = k, .a = a.data(), .lda = k, .b = w.data(), .ldb = k, .transposed = true, .c = dense.data(), .ldc = n});
      EXPECT_EQ(c, dense) << facts_of(packing).name << " m " << m << " seed " << seed;
      multiply_packed(a.data() + (m - 1) * k, k, 1, packed.matrix, alone.data(), n);
      EXPECT_EQ(alone, std::vector<float>(c.end() - n, c.end())) << facts_of(packing).name << " m " << m << " seed " << seed;
      c[c.size() / 2] += 0.01f * std::abs(c[c.size() / 2]) + 1e-30f;
      EXPECT_NE(c, dense) << "the comparison sees a wrong element";
    }
  }
}

}  // namespace
}  // namespace canvaslab
