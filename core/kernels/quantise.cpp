#include "core/kernels/quantise.h"

#include <bit>

#include "core/kernels/dequantise.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab {
namespace {

float magnitude(float x) { return x < 0 ? -x : x; }

float largest_of(const float* w, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = magnitude(w[i]) > largest ? magnitude(w[i]) : largest;
  return largest;
}

/// Nearest whole number, ties to even, below 2^22.
float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

}  // namespace

uint8_t to_e4m3(float x) {
  const auto sign = static_cast<uint8_t>(std::bit_cast<uint32_t>(x) >> 24 & 0x80);
  const float size = magnitude(x);
  if (size >= 448) return sign | 0x7E;
  if (size < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<int>(nearest(size * 512)));  // subnormals, steps of 2^-9
  const uint32_t bits = std::bit_cast<uint32_t>(size), rounded = bits + 0x7FFFF + (bits >> 20 & 1);
  const uint32_t code = (rounded >> 20) - (120u << 3);
  return static_cast<uint8_t>(sign | (code > 0x7E ? 0x7E : code));
}

uint8_t to_e2m1(float x) {
  const float size = magnitude(x);
  // Halfway points between 0, .5, 1, 1.5, 2, 3, 4, 6; codes with an even mantissa take theirs.
  const int code = (size > 0.25f) + (size >= 0.75f) + (size > 1.25f) + (size >= 1.75f) + (size > 2.5f) + (size >= 3.5f) + (size > 5.0f);
  return static_cast<uint8_t>(code | (std::bit_cast<uint32_t>(x) >> 31) << 3);
}

void quantise_fp8(const float* w, int64_t rows, int64_t columns, uint8_t* codes, uint16_t* scales) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = w + r * columns;
    scales[r] = nearest_bf16(largest_of(row, columns) / 448);
    const float scale = from_bf16(scales[r]);
    for (int64_t k = 0; k < columns; ++k) codes[r * columns + k] = scale > 0 ? to_e4m3(row[k] / scale) : 0;
  }
}

void quantise_int4(const float* w, int64_t rows, int64_t columns, uint8_t* codes, uint16_t* scales) {
  for (int64_t group = 0; group < rows * columns / kInt4Group; ++group) {
    const float* from = w + group * kInt4Group;
    scales[group] = nearest_bf16(largest_of(from, kInt4Group) / 7.5f);
    const float scale = from_bf16(scales[group]);
    const auto code = [&](float x) {
      const float q = scale > 0 ? nearest(x / scale) : 0;
      return static_cast<int>(q < -8 ? -8 : q > 7 ? 7 : q) + 8;
    };
    for (int64_t k = 0; k < kInt4Group; k += 2) codes[(group * kInt4Group + k) / 2] = static_cast<uint8_t>(code(from[k]) | code(from[k + 1]) << 4);
  }
}

float nvfp4_matrix_scale(float largest) { return largest > 0 ? 448.0f * 6.0f / largest : 1.0f; }

void quantise_nvfp4(const float* w, int64_t rows, int64_t columns, float matrix_scale, uint8_t* codes, uint8_t* scales) {
  for (int64_t group = 0; group < rows * columns / kNvfp4Group; ++group) {
    const float* from = w + group * kNvfp4Group;
    scales[group] = to_e4m3(largest_of(from, kNvfp4Group) / 6 * matrix_scale);
    const float scale = nvfp4_scale(scales[group], matrix_scale, true);
    const auto code = [&](float x) { return scale > 0 ? to_e2m1(x / scale) : 0; };
    for (int64_t k = 0; k < kNvfp4Group; k += 2) codes[(group * kNvfp4Group + k) / 2] = static_cast<uint8_t>(code(from[k]) | code(from[k + 1]) << 4);
  }
}

}  // namespace canvaslab
