#pragma once
// torch's CPU generator and the three draws the reference's generate makes, without torch.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "core/kernels/mt19937.h"

namespace canvaslab {

/// The stream of torch's default CPU generator seeded with manual_seed(seed): mt19937 from the low 32 bits of the seed.
/// Source: measured on torch 2.11.0; each draw below documents how many 32-bit outputs it takes.
class TorchGenerator {
 public:
  explicit TorchGenerator(uint64_t seed) {
    state_[0] = static_cast<uint32_t>(seed);
    for (uint32_t i = 1; i < kMtWords; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }

  /// torch.randint(0, count) for int64 and count < 2^32: one output per element.
  int32_t randint(uint32_t count) { return static_cast<int32_t>(next_raw() % count); }

  /// One element of exponential_(1) in f32: two outputs, the high word first.
  float exponential() {
    const uint32_t high = next_raw();
    return exponential_of(high, next_raw());
  }
  /// The element that these two outputs make; the logarithm is taken in double.
  static float exponential_of(uint32_t high, uint32_t low) {
    const uint64_t word = uint64_t{high} << 32 | low;
    const double u = static_cast<double>(word & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
    return static_cast<float>(-std::log1p(-u));
  }

  /// Outputs consumed so far can be compared through the next raw output.
  uint32_t next_raw() {
    uint32_t word = 0;
    fill(std::span(&word, 1));
    return word;
  }
  /// The next outputs, many at once.
  void fill(std::span<uint32_t> out) {
    const MtKernels& kernels = mt_kernels();
    for (size_t done = 0; done < out.size();) {
      if (next_ == kMtWords) {
        kernels.twist(state_.data());
        next_ = 0;
      }
      const size_t count = std::min(out.size() - done, kMtWords - next_);
      kernels.temper(state_.data() + next_, count, out.data() + done);
      done += count;
      next_ += count;
    }
  }

 private:
  std::array<uint32_t, kMtWords> state_{};
  size_t next_ = kMtWords;
};

}  // namespace canvaslab
