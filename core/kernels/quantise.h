#pragma once
// Rounding weights to few bits, by rows; what dequantise.h reads. Nearest codes throughout, ties to even; no calibration.
#include <cstdint>

namespace canvaslab {

inline constexpr int64_t kInt4Group = 32, kNvfp4Group = 16;

/// Nearest e4m3 code; beyond 448 the largest. x is no NaN.
uint8_t to_e4m3(float x);
/// Nearest e2m1 code; beyond 6 the largest. x is no NaN.
uint8_t to_e2m1(float x);

/// w [rows, columns] -> codes of the same shape and a bf16 scale a row: its largest magnitude over 448.
/// |error| <= max(2^-4 |w|, 2^-10 scale).
void quantise_fp8(const float* w, int64_t rows, int64_t columns, uint8_t* codes, uint16_t* scales);

/// -> codes [rows, columns / 2], even columns in low nibbles, and bf16 scales [rows, columns / 32]: the group's largest magnitude
/// over 7.5. |error| <= (0.5 + 2^-5) scale.
void quantise_int4(const float* w, int64_t rows, int64_t columns, uint8_t* codes, uint16_t* scales);

/// The scale of a matrix whose largest magnitude this is, by which group scales are divided (compressed-tensors' convention):
/// it puts the largest group scale at 448.
float nvfp4_matrix_scale(float largest);
/// -> codes [rows, columns / 2] and e4m3 scales [rows, columns / 16]: the group's largest magnitude over 6. With s the group's scale
/// over the matrix's, |error| <= s / 4 below 2 s, s / 2 below 4 s, s above, in groups whose largest exceeds 2^-14 of the matrix's;
/// below, scales are subnormal and get coarse, and below 2^-18 groups vanish.
void quantise_nvfp4(const float* w, int64_t rows, int64_t columns, float matrix_scale, uint8_t* codes, uint8_t* scales);

}  // namespace canvaslab
