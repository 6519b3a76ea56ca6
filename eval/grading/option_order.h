#pragma once
// The order in which a multiple-choice item shows its options.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace canvaslab::grading {

/// Python's random.Random for a whole-number seed: Mersenne Twister MT19937, seeded by array, with Python's rejection rule
/// for bounded draws. Source: CPython Lib/random.py and Modules/_randommodule.c.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);
  uint32_t bits32();
  /// Uniform in [0, count), count >= 1.
  uint32_t below(uint32_t count);
  /// random.sample(range(count), count), for count <= 21 (the pool method).
  std::vector<size_t> sample_all(size_t count);
  /// random.shuffle of 0 .. count-1.
  std::vector<size_t> shuffled(size_t count);

 private:
  std::array<uint32_t, 624> state_;
  size_t next_ = 624;
};

/// Place p shows option order[p]. A uniformly random order keyed by (seed, id) and rotated by `repeat` places: over
/// `count` repeats every option stands once in every place. Draws depend on nothing else.
std::vector<size_t> rotated_order(uint64_t seed, std::string_view id, uint32_t repeat, size_t count);

}  // namespace canvaslab::grading
