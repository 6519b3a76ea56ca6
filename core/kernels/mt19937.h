#pragma once
// Blocks of the mt19937 generator (Matsumoto and Nishimura 1998), and the search for a race's contenders in its output.
#include <cstddef>
#include <cstdint>
#include <span>

namespace canvaslab {

inline constexpr size_t kMtWords = 624;

/// Bounds of a row's race: element v loses when its uniform times `to_beat` exceeds an upper bound of its weight.
/// The weight is at most 2^(x * scale - shift), see torch_candidate.cpp.
struct RaceBounds {
  float scale = 0, shift = 0;  ///< both times 2^23
  float to_beat = 0;           ///< ratio that a contender must reach
};
inline constexpr float kRaceFloor = 126.0f * 0x1p23f;          ///< weights below 2^-126 count as that
inline constexpr int32_t kRaceBias = (127 << 23) + (1 << 12);  ///< exponent bias, and 2^-12 for the bound's own roundings

/// One instruction set's versions; all give the same bits, `plain` is the definition.
struct MtKernels {
  const char* name;
  /// The next 624 words of state.
  void (*twist)(uint32_t* state);
  /// Outputs of n words of state.
  void (*temper)(const uint32_t* state, size_t n, uint32_t* out);
  /// Whether any of 64 elements may win: x[64], words[128] with each element's high word first.
  bool (*any_contender)(const float* x, const uint32_t* words, const RaceBounds& bounds);
};

inline constexpr size_t kRaceBlock = 64;

const MtKernels& mt_kernels();
std::span<const MtKernels> all_mt_kernels();

}  // namespace canvaslab
