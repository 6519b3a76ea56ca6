#pragma once
// A kernel's numbers beside what they should be.
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/kernels/stored_rows.h"
#include "tests/support/kernels/memory.h"

namespace canvaslab {

/// A number and how far a right answer may be from it.
struct Expected {
  double value, bound;
};

/// The element that lies farthest outside its bound, as text, and the error of all (Frobenius, relative); empty when none does. NaN lies outside.
inline std::string worst_outside(const char* name, const std::vector<Expected>& expected, const KernelVector<float>& got, size_t row_width) {
  if (expected.size() != got.size()) return fmt::format("{}: {} elements, {} expected", name, got.size(), expected.size());
  size_t worst = 0;
  double excess = 0, errors = 0, squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i].value);
    errors += error * error;
    squares += expected[i].value * expected[i].value;
    const double here = std::isnan(error) ? INFINITY : error - expected[i].bound;
    if (here > excess) excess = here, worst = i;
  }
  if (excess == 0) return "";
  return fmt::format("{}: worst element [{}, {}] is {}, expected {} within {}; relative error of all {}", name, worst / row_width, worst % row_width, got[worst], expected[worst].value,
                     expected[worst].bound, std::sqrt(errors / squares));
}

/// Random numbers as they lie in memory, and as f32 what is read from there.
struct StoredArray {
  StoredArray(size_t count, Storage as) : storage(as), floats(as == Storage::kF32 ? count : 0, NAN), halves(as == Storage::kBf16 ? count : 0, uint16_t{0x7FC0}) {
    floats.reserve(1), halves.reserve(1);  // an address even where there is nothing: launchers refuse null
  }
  StoredArray(const KernelVector<float>& values, Storage as) : StoredArray(values.size(), as) {
    for (size_t i = 0; i < values.size(); ++i) RowsOut{data(), 0, as}.put(0, static_cast<int64_t>(i), values[i]);
  }
  void* data() { return storage == Storage::kF32 ? static_cast<void*>(floats.data()) : halves.data(); }
  RowsIn in(int64_t stride) { return {data(), stride, storage}; }
  RowsOut out(int64_t stride) { return {data(), stride, storage}; }
  KernelVector<float> values() const {
    if (storage == Storage::kF32) return floats;
    KernelVector<float> all;
    for (const uint16_t code : halves) all.push_back(from_bf16(code));
    return all;
  }

  Storage storage;
  KernelVector<float> floats;
  KernelVector<uint16_t> halves;
};

inline KernelVector<float> normal_numbers(size_t count, std::mt19937_64& random, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  KernelVector<float> out(count);
  for (float& x : out) x = normal(random);
  return out;
}

/// bf16 codes of normal numbers, from a table: hundreds of millions in seconds.
inline KernelVector<uint16_t> normal_codes(size_t count, std::mt19937_64& random, float scale = 1) {
  std::vector<uint16_t> table(1 << 12);
  for (uint16_t& code : table) code = nearest_bf16(std::normal_distribution<float>(0, scale)(random));
  KernelVector<uint16_t> out(count);
  uint64_t bits = 0;
  for (size_t i = 0; i < count; ++i, bits >>= 12) {
    if (i % 5 == 0) bits = random();
    out[i] = table[bits & 0xFFF];
  }
  return out;
}

/// What rounding a result to its storage may cost.
inline double rounding(Storage storage, double value) { return storage == Storage::kBf16 ? 0x1p-8 * std::abs(value) : 0x1p-23 * std::abs(value); }

}  // namespace canvaslab
