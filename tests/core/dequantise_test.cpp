// Every code of every packing against the documented formula in f64.
#include "core/kernels/dequantise.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

/// A binary float of `exponent` and `mantissa` bits without special values, from its fields.
double by_fields(int code, int exponent_bits, int mantissa_bits, int bias) {
  const int mantissa = code & ((1 << mantissa_bits) - 1), exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1);
  const double fraction = mantissa / std::exp2(mantissa_bits);
  const double magnitude = exponent == 0 ? fraction * std::exp2(1 - bias) : (1 + fraction) * std::exp2(exponent - bias);
  return code >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

/// The same number, sign of zero and being NaN included.
::testing::AssertionResult same(float got, double expected) {
  const bool equal = std::isnan(expected) ? std::isnan(got) : static_cast<double>(got) == expected && std::signbit(got) == std::signbit(expected);
  return equal ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << got << " is not " << expected;
}

double f16_value(int code) {
  const int exponent = code >> 10 & 31, mantissa = code & 1023;
  if (exponent < 31) return by_fields(code, 5, 10, 15);
  return mantissa ? std::nan("") : code >> 15 ? -HUGE_VAL : HUGE_VAL;
}

double e4m3_value(int code) { return (code & 127) == 127 ? std::nan("") : by_fields(code, 4, 3, 7); }

TEST(Dequantise, TheComparisonSeesWrongValues) {
  EXPECT_FALSE(same(1.0f, 1.0000001));
  EXPECT_FALSE(same(0.0f, -0.0));
  EXPECT_FALSE(same(0.0f, std::nan("")));
  EXPECT_FALSE(same(NAN, 1));
}

TEST(Dequantise, EveryHalf) {
  for (int code = 0; code < 65536; ++code) {
    ASSERT_TRUE(same(from_f16(static_cast<uint16_t>(code)), f16_value(code))) << "f16 code " << code;
    const int exponent = code >> 7 & 255, mantissa = code & 127;
    const double wide = exponent < 255 ? by_fields(code, 8, 7, 127) : mantissa ? std::nan("") : code >> 15 ? -HUGE_VAL : HUGE_VAL;
    ASSERT_TRUE(same(from_bf16(static_cast<uint16_t>(code)), wide)) << "bf16 code " << code;
  }
}

TEST(Dequantise, EveryE4m3) {
  for (int code = 0; code < 256; ++code) EXPECT_TRUE(same(from_e4m3(static_cast<uint8_t>(code)), e4m3_value(code))) << "code " << code;
  EXPECT_EQ(from_e4m3(0x7E), 448.0f);
  EXPECT_EQ(from_e4m3(0x01), 0x1p-9f);
}

/// Sixteen codes times all group scales, by both conventions of the matrix's scale; each step rounds as documented.
TEST(Dequantise, EveryE2m1TimesEveryGroupScale) {
  const std::array<double, 8> magnitudes = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (int code = 0; code < 16; ++code) {
    const double value = code & 8 ? -magnitudes[static_cast<size_t>(code & 7)] : magnitudes[static_cast<size_t>(code & 7)];
    for (int upper : {0, 0x50, 0xF0}) EXPECT_TRUE(same(from_e2m1(static_cast<uint8_t>(code | upper)), value)) << "code " << code;
    EXPECT_TRUE(same(from_int4(static_cast<uint8_t>(code | 0xA0)), code - 8)) << "code " << code;
    for (float matrix : {1.0f, 1792.0f, 0.0173f, 3.3e5f}) {
      for (int scale = 0; scale < 256; ++scale) {
        for (bool divides : {false, true}) {
          const double group = e4m3_value(scale), wide = static_cast<double>(matrix);
          // f64 holds 53 bits of the quotient of a 4-bit by a 24-bit number: rounding twice is rounding once.
          const auto rounded = static_cast<float>(divides ? group / wide : group * wide);
          const float got = from_e2m1(static_cast<uint8_t>(code)) * nvfp4_scale(static_cast<uint8_t>(scale), matrix, divides);
          ASSERT_TRUE(same(got, static_cast<double>(static_cast<float>(value * static_cast<double>(rounded))))) << "code " << code << " scale " << scale << " matrix " << matrix;
        }
      }
    }
  }
}

// --- GGUF blocks. The expected numbers are computed the other way round: fields are chosen, written into a block by the
// documented layout, and the formula is evaluated on the fields in f64.

struct Block {
  std::vector<uint8_t> bytes;
  std::vector<double> expected;  // before the one rounding to f32
};

/// A finite f16 code; the extremes now and then.
int random_half(std::mt19937& engine) {
  constexpr int kEdges[] = {0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00};
  if (engine() % 4 == 0) return kEdges[engine() % 8];
  return static_cast<int>((engine() & 0x8000) | engine() % 0x7C00);
}
void put_half(std::vector<uint8_t>& bytes, size_t at, int code) {
  bytes[at] = static_cast<uint8_t>(code & 255);
  bytes[at + 1] = static_cast<uint8_t>(code >> 8);
}
int below(std::mt19937& engine, int count) { return static_cast<int>(engine() % static_cast<unsigned>(count)); }

Block make_q8_0(std::mt19937& engine) {
  Block b{std::vector<uint8_t>(34), {}};
  const int d = random_half(engine);
  put_half(b.bytes, 0, d);
  for (size_t i = 0; i < 32; ++i) {
    const int q = below(engine, 256) - 128;
    b.bytes[2 + i] = static_cast<uint8_t>(q);
    b.expected.push_back(f16_value(d) * q);
  }
  return b;
}

/// Q5_0, Q5_1: nibble i in the lower half of byte i for the first 16, in the upper half of byte i - 16 for the others.
Block make_q5(std::mt19937& engine, bool has_minimum) {
  const size_t bits = has_minimum ? 4 : 2;
  Block b{std::vector<uint8_t>(bits + 20), {}};
  const int d = random_half(engine), m = random_half(engine);
  put_half(b.bytes, 0, d);
  if (has_minimum) put_half(b.bytes, 2, m);
  uint32_t fifth = 0;
  for (size_t i = 0; i < 32; ++i) {
    const int q = below(engine, 32);
    fifth |= static_cast<uint32_t>(q >> 4) << i;
    b.bytes[bits + 4 + i % 16] |= static_cast<uint8_t>((q & 15) << (i < 16 ? 0 : 4));
    b.expected.push_back(has_minimum ? f16_value(d) * q + f16_value(m) : f16_value(d) * (q - 16));
  }
  for (size_t k = 0; k < 4; ++k) b.bytes[bits + k] = static_cast<uint8_t>(fifth >> (8 * k));
  return b;
}

Block make_iq4_nl(std::mt19937& engine) {
  constexpr int kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  Block b{std::vector<uint8_t>(18), {}};
  const int d = random_half(engine);
  put_half(b.bytes, 0, d);
  for (size_t i = 0; i < 32; ++i) {
    const int q = below(engine, 16);
    b.bytes[2 + i % 16] |= static_cast<uint8_t>(q << (i < 16 ? 0 : 4));
    b.expected.push_back(f16_value(d) * kValues[q]);
  }
  return b;
}

/// Q4_K and Q5_K.
Block make_k(std::mt19937& engine, bool five_bits) {
  Block b{std::vector<uint8_t>(five_bits ? 176 : 144), {}};
  const int d = random_half(engine), dmin = random_half(engine);
  put_half(b.bytes, 0, d);
  put_half(b.bytes, 2, dmin);
  std::array<int, 8> scale{}, minimum{};
  for (size_t j = 0; j < 8; ++j) {
    scale[j] = below(engine, 64);
    minimum[j] = below(engine, 64);
    uint8_t* s = b.bytes.data() + 4;
    if (j < 4) {
      s[j] |= static_cast<uint8_t>(scale[j]);
      s[j + 4] |= static_cast<uint8_t>(minimum[j]);
    } else {
      s[j + 4] |= static_cast<uint8_t>((scale[j] & 15) | (minimum[j] & 15) << 4);
      s[j - 4] |= static_cast<uint8_t>(scale[j] >> 4 << 6);
      s[j] |= static_cast<uint8_t>(minimum[j] >> 4 << 6);
    }
  }
  for (size_t i = 0; i < 256; ++i) {
    const int q = below(engine, five_bits ? 32 : 16);
    b.bytes[(five_bits ? 48 : 16) + i / 64 * 32 + i % 32] |= static_cast<uint8_t>((q & 15) << (i % 64 < 32 ? 0 : 4));
    if (five_bits) b.bytes[16 + i % 32] |= static_cast<uint8_t>((q >> 4) << (i / 32));
    b.expected.push_back(f16_value(d) * scale[i / 32] * q - f16_value(dmin) * minimum[i / 32]);
  }
  return b;
}

Block make_q6_k(std::mt19937& engine) {
  Block b{std::vector<uint8_t>(210), {}};
  const int d = random_half(engine);
  put_half(b.bytes, 208, d);
  std::array<int, 16> scale{};
  for (size_t j = 0; j < 16; ++j) {
    scale[j] = below(engine, 256) - 128;
    b.bytes[192 + j] = static_cast<uint8_t>(scale[j]);
  }
  for (size_t i = 0; i < 256; ++i) {
    const int q = below(engine, 64);
    const size_t half = i / 128, within = i % 128;
    b.bytes[64 * half + within % 64] |= static_cast<uint8_t>((q & 15) << (within < 64 ? 0 : 4));
    b.bytes[128 + 32 * half + within % 32] |= static_cast<uint8_t>(q >> 4 << (2 * (within / 32)));
    b.expected.push_back(f16_value(d) * scale[i / 16] * (q - 32));
  }
  return b;
}

struct Packing {
  const char* name;
  float (*element)(const uint8_t*, int);
  std::function<Block(std::mt19937&)> make;
};

std::vector<Packing> packings() {
  return {{"Q8_0", gguf::q8_0, make_q8_0},
          {"Q5_0", gguf::q5_0, [](auto& e) { return make_q5(e, false); }},
          {"Q5_1", gguf::q5_1, [](auto& e) { return make_q5(e, true); }},
          {"IQ4_NL", gguf::iq4_nl, make_iq4_nl},
          {"Q4_K", gguf::q4_k, [](auto& e) { return make_k(e, false); }},
          {"Q5_K", gguf::q5_k, [](auto& e) { return make_k(e, true); }},
          {"Q6_K", gguf::q6_k, make_q6_k}};
}

/// 400 blocks a packing: every field takes each of its at most 256 values thousands of times (scales: hundreds), halves their edges.
/// Equal as numbers: -0 and 0 differ between orders of signs.
TEST(Dequantise, EveryFieldOfGgufBlocks) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  for (const Packing& packing : packings()) {
    for (int round = 0; round < 400; ++round) {
      const Block block = packing.make(engine);
      for (size_t i = 0; i < block.expected.size(); ++i)
        ASSERT_EQ(packing.element(block.bytes.data(), static_cast<int>(i)), static_cast<float>(block.expected[i])) << packing.name << " element " << i << " seed " << seed;
    }
  }
}

}  // namespace
}  // namespace canvaslab
