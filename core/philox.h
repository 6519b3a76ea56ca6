#pragma once
// Counter-based randomness: every draw is a pure function of what it is for. All constexpr, which lets GPU code call it.
#include <array>
#include <cstdint>

namespace canvaslab {

/// What a draw is for. The values are part of the reproducibility contract: never reuse or renumber.
enum class Purpose : uint32_t {
  kCanvasInit = 1,
  kCandidate = 2,
  kRoute = 3,
  kNoise = 4,
  kPositionKey = 5,
  kSource = 6,      ///< exact samples of a source
  kSampler = 7,     ///< a sampler's own draws
  kResample = 8,    ///< bootstrap
  kPrompt = 9,
  kVerify = 10,       ///< tokens of the causal mode
  kAlternative = 11,  ///< tokens other than the canvas's
  kPerturbation = 12, ///< noise of the perturbed denoiser
  kAccept = 13,       ///< whether a drafted token stands in the causal mode
  kInitialWeight = 32,  ///< weights of a new network
  kTraining = 33,       ///< corruption of training canvases
};

/// One Philox4x32-10 block (Salmon et al., SC 2011): 128 bits from a 128-bit counter and a 64-bit key.
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// Names one row of one step; draws differ by purpose and position. Nothing here depends on batch, order or device.
struct DrawKey {
  uint64_t seed = 0;
  uint64_t item = 0;      ///< folded with seed and repeat into the 64-bit Philox key
  uint32_t repeat = 0;
  uint32_t canvas_idx = 0;
  uint32_t step_idx = 0;
  uint32_t first_position = 0;  ///< added to positions: draws that belong to a place in the text, not in a canvas
  constexpr bool operator==(const DrawKey&) const = default;

  /// 128 random bits for (purpose, position, lane).
  constexpr std::array<uint32_t, 4> bits(Purpose purpose, uint32_t position, uint32_t lane = 0) const {
    // (seed, item, repeat) exceed the 64-bit key: one block under a fixed counter folds them.
    const auto folded = philox4x32({static_cast<uint32_t>(item), static_cast<uint32_t>(item >> 32), repeat, 0xC0FFEEu},
                                   {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    return philox4x32({first_position + position, step_idx, (static_cast<uint32_t>(purpose) << 24) | (lane & 0xFFFFFFu), canvas_idx},
                      {folded[0], folded[1]});
  }
  /// Uniform in (0, 1): 53 bits, centred so that neither end occurs.
  constexpr double uniform(Purpose purpose, uint32_t position, uint32_t lane = 0) const {
    const auto word = bits(purpose, position, lane);
    const uint64_t high = (uint64_t{word[0]} << 32 | word[1]) >> 12;  // 52 bits
    return (static_cast<double>(high) + 0.5) * 0x1p-52;
  }
  /// Uniform integer in [0, count), by multiply-high of 64 bits (bias below count / 2^64).
  constexpr uint32_t below(uint32_t count, Purpose purpose, uint32_t position, uint32_t lane = 0) const {
    const auto word = bits(purpose, position, lane);
    const uint64_t value = uint64_t{word[0]} << 32 | word[1];
    return static_cast<uint32_t>((static_cast<unsigned __int128>(value) * count) >> 64);
  }
};

}  // namespace canvaslab
