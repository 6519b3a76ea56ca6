#pragma once
// Kernels on a GPU.
#include "tests/support/kernels/device_memory.h"

namespace canvaslab {

inline std::string kernels_missing() { return device_missing(); }

inline constexpr bool kFullSizes = true;

}  // namespace canvaslab
