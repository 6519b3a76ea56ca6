#include "eval/grading/option_order.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/digest.h"
#include "core/philox.h"

namespace canvaslab::grading {

PythonRandom::PythonRandom(uint64_t seed) {
  constexpr size_t n = 624;
  std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
  if (seed >> 32) key.push_back(static_cast<uint32_t>(seed >> 32));
  state_[0] = 19650218u;
  for (size_t i = 1; i < n; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<uint32_t>(i);
  size_t i = 1;
  const auto step = [&](uint32_t factor, uint32_t added) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * factor)) + added;
    if (++i == n) {
      state_[0] = state_[n - 1];
      i = 1;
    }
  };
  for (size_t k = 0; k < n; ++k) step(1664525u, key[k % key.size()] + static_cast<uint32_t>(k % key.size()));
  for (size_t k = 1; k < n; ++k) step(1566083941u, -static_cast<uint32_t>(i));
  state_[0] = 0x80000000u;
}

uint32_t PythonRandom::bits32() {
  constexpr size_t n = 624, m = 397;
  if (next_ == n) {
    for (size_t k = 0; k < n; ++k) {
      const uint32_t y = (state_[k] & 0x80000000u) | (state_[(k + 1) % n] & 0x7fffffffu);
      state_[k] = state_[(k + m) % n] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0u);
    }
    next_ = 0;
  }
  uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::below(uint32_t count) {
  const int width = std::bit_width(count);
  for (;;)
    if (const uint32_t value = bits32() >> (32 - width); value < count) return value;
}

std::vector<size_t> PythonRandom::sample_all(size_t count) {
  std::vector<size_t> pool(count), out;
  std::iota(pool.begin(), pool.end(), size_t{0});
  for (size_t left = count; left > 0; --left) {
    const size_t j = below(static_cast<uint32_t>(left));
    out.push_back(pool[j]);
    pool[j] = pool[left - 1];
  }
  return out;
}

std::vector<size_t> PythonRandom::shuffled(size_t count) {
  std::vector<size_t> out(count);
  std::iota(out.begin(), out.end(), size_t{0});
  for (size_t i = count; i-- > 1;) std::swap(out[i], out[below(static_cast<uint32_t>(i + 1))]);
  return out;
}

std::vector<size_t> rotated_order(uint64_t seed, std::string_view id, uint32_t repeat, size_t count) {
  const Sha256 digest = sha256(id);
  uint64_t item = 0;
  for (size_t i = 0; i < 8; ++i) item = item << 8 | digest[i];
  const DrawKey key{.seed = seed, .item = item};
  std::vector<size_t> out(count);
  std::iota(out.begin(), out.end(), size_t{0});
  for (size_t i = count; i-- > 1;) std::swap(out[i], out[key.below(static_cast<uint32_t>(i + 1), Purpose::kPrompt, static_cast<uint32_t>(i))]);
  if (count > 0) std::rotate(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(repeat % count), out.end());
  return out;
}

}  // namespace canvaslab::grading
