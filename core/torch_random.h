#pragma once
// torch's CPU generator and the three draws the reference's generate makes, without torch.
#include <cmath>
#include <cstdint>
#include <random>

namespace canvaslab {

/// The stream of torch's default CPU generator seeded with manual_seed(seed): mt19937 from the low 32 bits of the seed.
/// Source: measured on torch 2.11.0; each draw below documents how many 32-bit outputs it takes.
class TorchGenerator {
 public:
  explicit TorchGenerator(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}

  /// torch.randint(0, count) for int64 and count < 2^32: one output per element.
  int32_t randint(uint32_t count) { return static_cast<int32_t>(engine_() % count); }

  /// One element of exponential_(1) in f32: two outputs; the logarithm is taken in double.
  float exponential() {
    const uint64_t high = engine_();
    const uint64_t word = high << 32 | engine_();
    const double u = static_cast<double>(word & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
    return static_cast<float>(-std::log1p(-u));
  }
  /// Outputs consumed so far can be compared through the next raw output.
  uint32_t next_raw() { return static_cast<uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

}  // namespace canvaslab
