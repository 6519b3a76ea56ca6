#pragma once
// Memory of the processor, for what runs on it in the kernels' place.
#include <cstdlib>

#include "tests/support/kernels/memory.h"

namespace canvaslab {

inline void* kernel_allocate(size_t bytes) {
  void* memory = std::aligned_alloc(256, (bytes + 256) / 256 * 256);
  if (!memory) throw std::bad_alloc();
  return memory;
}
inline void kernel_release(void* memory) noexcept { std::free(memory); }
inline std::string kernels_missing() { return ""; }

/// Full sizes are for the device.
inline constexpr bool kFullSizes = false;

}  // namespace canvaslab
