#pragma once
// Kernels that begin while the one before them on their stream comes to its end (programmatic dependent launch, compute capability 9.0 and later). A step is some 420 launches, and between two of them lies a
// microsecond in which nothing is computed. Results are the same bits either way: no kernel touches what others write before these have ended (overlap.cuh).

namespace canvaslab::cuda {

/// Whether the kernels that this thread launches overlap, on its current device.
bool kernels_overlap();

/// While one lives, kernels that its thread launches begin when those before have ended: to compare, and for graphs that take no others.
class WithoutOverlap {
 public:
  WithoutOverlap();
  ~WithoutOverlap();
  WithoutOverlap(const WithoutOverlap&) = delete;
  WithoutOverlap& operator=(const WithoutOverlap&) = delete;
};

}  // namespace canvaslab::cuda
