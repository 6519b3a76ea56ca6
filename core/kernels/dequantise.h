#pragma once
// What the codes of quantised weights mean, one number at a time: f16, bf16, e4m3, e2m1, 4-bit integers and the blocks of
// GGUF files. For CPU and CUDA alike: nothing but arithmetic, exact unless a line says where it rounds.
#include <cstdint>
#ifndef __CUDA_ARCH__
#include <bit>
#endif

#include "core/kernels/host_device.h"

namespace canvaslab {

CANVASLAB_HOST_DEVICE float float_of_bits(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
CANVASLAB_HOST_DEVICE uint32_t bits_of_float(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}

/// bf16: the upper half of an f32.
CANVASLAB_HOST_DEVICE float from_bf16(uint16_t code) { return float_of_bits(static_cast<uint32_t>(code) << 16); }

/// IEEE f16, infinities and NaN included. Subnormals: with the exponent field of 1 a code reads 2^-15 (1 + m / 1024);
/// doubling and taking 2^-14 away leaves 2^-14 m / 1024 without touching f32's own subnormals, which are slow.
CANVASLAB_HOST_DEVICE float from_f16(uint16_t code) {
  const uint32_t magnitude = code & 0x7FFFu, sign = static_cast<uint32_t>(code & 0x8000u) << 16;
  const uint32_t bits = (magnitude << 13) + (112u << 23);
  const float subnormal = 2.0f * float_of_bits(bits) - 0x1p-14f;
  const uint32_t normal = magnitude >= 0x7C00u ? bits + (112u << 23) : bits;
  return float_of_bits((magnitude < 0x0400u ? bits_of_float(subnormal) : normal) | sign);
}

/// e4m3 without infinities (OCP 8-bit floating point 1.0, E4M3): bias 7, largest 448, 0x7F and 0xFF are NaN.
CANVASLAB_HOST_DEVICE float from_e4m3(uint8_t code) {
  const uint32_t magnitude = code & 0x7Fu, sign = static_cast<uint32_t>(code & 0x80u) << 24;
  const uint32_t bits = (magnitude << 20) + (120u << 23);
  const float subnormal = 2.0f * float_of_bits(bits) - 0x1p-6f;  // as in from_f16
  const uint32_t normal = magnitude == 0x7Fu ? 0x7FC00000u : bits;
  return float_of_bits((magnitude < 8 ? bits_of_float(subnormal) : normal) | sign);
}

/// e2m1 (OCP microscaling formats 1.0, FP4) in the low four bits: 0, .5, 1, 1.5, 2, 3, 4, 6; bit 3 is the sign.
CANVASLAB_HOST_DEVICE float from_e2m1(uint8_t code) {
  const uint32_t magnitude = code & 7u, sign = static_cast<uint32_t>(code & 8u) << 28;
  const uint32_t bits = (magnitude << 22) + (126u << 23);
  const float subnormal = 2.0f * float_of_bits(bits) - 1.0f;
  return float_of_bits((magnitude < 2 ? bits_of_float(subnormal) : bits) | sign);
}

/// compressed-tensors' 4-bit integers in the low four bits: 8 above the value.
CANVASLAB_HOST_DEVICE float from_int4(uint8_t code) { return static_cast<float>(static_cast<int>(code & 15u) - 8); }

/// A group's scale in NVFP4, rounded once: compressed-tensors divides by the matrix's scale, ModelOpt multiplies.
CANVASLAB_HOST_DEVICE float nvfp4_scale(uint8_t group, float matrix, bool divides) { return divides ? from_e4m3(group) / matrix : from_e4m3(group) * matrix; }

/// GGUF's blocks as ggml lays them out: `block` points at the first byte, `i` counts elements. Products of scale and code are
/// exact in f32; where a minimum is added or taken away the sum rounds once.
namespace gguf {

CANVASLAB_HOST_DEVICE uint16_t half_at(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }

/// Byte and shift of the nibble of element i: the lower nibbles of `half` bytes come first, then the upper ones.
CANVASLAB_HOST_DEVICE int nibble(const uint8_t* bytes, int i, int half) { return i < half ? bytes[i] & 15 : bytes[i - half] >> 4; }

/// The fifth bit of element i of a block of 32, from 4 bytes.
CANVASLAB_HOST_DEVICE int fifth_bit(const uint8_t* bytes, int i) { return bytes[i / 8] >> (i % 8) & 1; }

/// 34 bytes for 32: f16 scale; 32 int8.
CANVASLAB_HOST_DEVICE float q8_0(const uint8_t* block, int i) { return from_f16(half_at(block)) * static_cast<float>(static_cast<int8_t>(block[2 + i])); }

/// 22 bytes for 32: f16 scale; 4 bytes of fifth bits; 16 bytes of nibbles. Values are 16 below their codes.
CANVASLAB_HOST_DEVICE float q5_0(const uint8_t* block, int i) {
  return from_f16(half_at(block)) * static_cast<float>((nibble(block + 6, i, 16) | fifth_bit(block + 2, i) << 4) - 16);
}

/// 24 bytes for 32: f16 scale, f16 minimum; 4 bytes of fifth bits; 16 bytes of nibbles.
CANVASLAB_HOST_DEVICE float q5_1(const uint8_t* block, int i) {
  return from_f16(half_at(block)) * static_cast<float>(nibble(block + 8, i, 16) | fifth_bit(block + 4, i) << 4) + from_f16(half_at(block + 2));
}

/// The 16 values of IQ4_NL, denser near zero.
CANVASLAB_HOST_DEVICE int iq4_nl_value(int code) {
  constexpr int8_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return kValues[code];
}

/// 18 bytes for 32: f16 scale; 16 bytes of nibbles into iq4_nl_value.
CANVASLAB_HOST_DEVICE float iq4_nl(const uint8_t* block, int i) { return from_f16(half_at(block)) * static_cast<float>(iq4_nl_value(nibble(block + 2, i, 16))); }

/// The 6-bit scale and minimum of sub-block j of 8 in 12 bytes: the first four of each in the low bits of bytes 0-3 and 4-7,
/// the others in the nibbles of bytes 8-11 and the top bits of 0-7.
struct ScaleAndMinimum {
  int scale, minimum;
};
CANVASLAB_HOST_DEVICE ScaleAndMinimum k_scale(const uint8_t* bytes, int j) {
  if (j < 4) return {bytes[j] & 63, bytes[j + 4] & 63};
  return {(bytes[j + 4] & 15) | bytes[j - 4] >> 6 << 4, bytes[j + 4] >> 4 | bytes[j] >> 6 << 4};
}

/// A sub-block's numbers: code * scale - minimum.
struct Affine {
  float scale, minimum;
};
/// Of sub-block j of 32 of a Q4_K or Q5_K block.
CANVASLAB_HOST_DEVICE Affine k_affine(const uint8_t* block, int j) {
  const ScaleAndMinimum s = k_scale(block + 4, j);
  return {from_f16(half_at(block)) * static_cast<float>(s.scale), from_f16(half_at(block + 2)) * static_cast<float>(s.minimum)};
}

/// The code of element i: 64 elements share 32 bytes, low nibbles first.
CANVASLAB_HOST_DEVICE int k_nibble(const uint8_t* bytes, int i) { return nibble(bytes + i / 64 * 32, i % 64, 32); }

/// 144 bytes for 256: f16 scale of scales, f16 of minima; 12 bytes of k_scale; 128 bytes of nibbles.
CANVASLAB_HOST_DEVICE float q4_k(const uint8_t* block, int i) {
  const Affine a = k_affine(block, i / 32);
  return a.scale * static_cast<float>(k_nibble(block + 16, i)) - a.minimum;
}

/// The code of element i of a Q5_K block: bit i / 32 of byte i % 32 is its fifth bit.
CANVASLAB_HOST_DEVICE int q5_k_code(const uint8_t* block, int i) { return k_nibble(block + 48, i) | (block[16 + i % 32] >> (i / 32) & 1) << 4; }

/// 176 bytes for 256: as Q4_K with 32 bytes of fifth bits before the nibbles.
CANVASLAB_HOST_DEVICE float q5_k(const uint8_t* block, int i) {
  const Affine a = k_affine(block, i / 32);
  return a.scale * static_cast<float>(q5_k_code(block, i)) - a.minimum;
}

/// The value of element i of a Q6_K block: 128 elements share 64 bytes of nibbles and 32 of upper bit pairs.
CANVASLAB_HOST_DEVICE int q6_k_value(const uint8_t* block, int i) {
  const int half = i / 128, within = i % 128, quarter = within / 32;
  const int low = nibble(block + 64 * half, within, 64), high = block[128 + 32 * half + within % 32] >> (2 * quarter) & 3;
  return (low | high << 4) - 32;
}

/// 210 bytes for 256: 128 bytes of nibbles; 64 of upper bit pairs; 16 int8 scales of 16 elements each; f16 scale of scales.
CANVASLAB_HOST_DEVICE float q6_k(const uint8_t* block, int i) {
  return from_f16(half_at(block + 208)) * static_cast<float>(static_cast<int8_t>(block[192 + i / 16])) * static_cast<float>(q6_k_value(block, i));
}

}  // namespace gguf
}  // namespace canvaslab
