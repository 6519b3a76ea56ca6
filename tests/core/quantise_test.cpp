// Codes are the nearest ones, and errors stay within the bounds that quantise.h states.
#include "core/kernels/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/kernels/dequantise.h"

namespace canvaslab {
namespace {

std::vector<float> normals(size_t count, std::mt19937& engine) {
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> out(count);
  for (auto& x : out) x = normal(engine);
  return out;
}

/// Every representable number is its own code; halfway between neighbours the even one is taken, just beside it the nearer.
TEST(Quantise, NearestCodesTiesToEven) {
  for (int code = 0; code < 0x7E; ++code) {
    const float low = from_e4m3(static_cast<uint8_t>(code)), high = from_e4m3(static_cast<uint8_t>(code + 1)), middle = (low + high) / 2;
    EXPECT_EQ(to_e4m3(low), code);
    EXPECT_EQ(to_e4m3(-high), 0x80 | (code + 1));
    EXPECT_EQ(to_e4m3(middle), code % 2 ? code + 1 : code) << middle;
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 0.0f)), code) << middle;
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 1e9f)), code + 1) << middle;
  }
  EXPECT_EQ(to_e4m3(1e9f), 0x7E);
  EXPECT_EQ(to_e4m3(-463.0f), 0xFE);
  for (int code = 0; code < 7; ++code) {
    const float low = from_e2m1(static_cast<uint8_t>(code)), high = from_e2m1(static_cast<uint8_t>(code + 1)), middle = (low + high) / 2;
    EXPECT_EQ(to_e2m1(low), code);
    EXPECT_EQ(to_e2m1(-high), 8 | (code + 1));
    EXPECT_EQ(to_e2m1(middle), code % 2 ? code + 1 : code) << middle;
    EXPECT_EQ(to_e2m1(std::nextafter(middle, 0.0f)), code) << middle;
    EXPECT_EQ(to_e2m1(std::nextafter(middle, 1e9f)), code + 1) << middle;
  }
  EXPECT_EQ(to_e2m1(100), 7);
}

/// An f32 quotient and product round by 2^-24 each: 2^-22 |w| beside every bound.
TEST(Quantise, ErrorsStayWithinTheirBounds) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  const int64_t rows = 20, columns = 96;
  auto w = normals(static_cast<size_t>(rows * columns), engine);
  for (size_t i = 0; i < 96; ++i) w[i] = 0;           // a row of zeros
  for (size_t i = 96; i < 192; ++i) w[i] *= 1e-9f;    // a tiny one
  for (size_t i = 192; i < 288; i += 16) w[i] = 3.0f; // outliers
  std::vector<uint8_t> codes(w.size());
  std::vector<uint16_t> scales(w.size());
  quantise_fp8(w.data(), rows, columns, codes.data(), scales.data());
  for (size_t i = 0; i < w.size(); ++i) {
    const float scale = from_bf16(scales[i / 96]), error = std::abs(from_e4m3(codes[i]) * scale - w[i]), size = std::abs(w[i]);
    ASSERT_LE(error, std::max(0x1p-4f * size, 0x1p-10f * scale) + 0x1p-22f * size) << "fp8 " << i << " seed " << seed;
  }
  quantise_int4(w.data(), rows, columns, codes.data(), scales.data());
  for (size_t i = 0; i < w.size(); ++i) {
    const float scale = from_bf16(scales[i / 32]), value = from_int4(static_cast<uint8_t>(codes[i / 2] >> (4 * (i % 2)))) * scale;
    ASSERT_LE(std::abs(value - w[i]), (0.5f + 0x1p-5f) * scale) << "int4 " << i << " seed " << seed;
  }
  std::vector<uint8_t> groups(w.size() / 16);
  const float matrix = nvfp4_matrix_scale(3.0f);
  quantise_nvfp4(w.data(), rows, columns, matrix, codes.data(), groups.data());
  for (size_t i = 0; i < w.size(); ++i) {
    const float scale = nvfp4_scale(groups[i / 16], matrix, true), size = std::abs(w[i]);
    const float value = from_e2m1(static_cast<uint8_t>(codes[i / 2] >> (4 * (i % 2)))) * scale;
    const float bound = scale == 0 ? 3.0f * 0x1p-17f : scale * (size < 2 * scale ? 0.25f : size < 4 * scale ? 0.5f : 1.0f) + 0x1p-22f * size;
    ASSERT_LE(std::abs(value - w[i]), bound) << "nvfp4 " << i << " seed " << seed;
  }
  EXPECT_EQ(groups[0], 0);
}

}  // namespace
}  // namespace canvaslab
