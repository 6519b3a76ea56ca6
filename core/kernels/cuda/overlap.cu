// Whether kernels overlap: as the device can and the thread wants.
#include "core/kernels/cuda/overlap.h"

#include <cuda_runtime.h>

namespace canvaslab::cuda {

namespace {

thread_local int without = 0;

/// Code for a device is for it alone, none is translated from an older one's: so where capability 9.0 is, kernels wait. Graphs take such launches from 12.3 on.
bool device_overlaps(int device) {
  int major = 0, driver = 0;
  const bool can = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9 && cudaDriverGetVersion(&driver) == cudaSuccess && driver >= 12030;
  if (!can) cudaGetLastError();  // else whoever asks next would be told
  return can;
}

}  // namespace

bool kernels_overlap() {
  thread_local int asked = -1;
  thread_local bool can = false;
  if (without > 0) return false;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  if (device != asked) can = device_overlaps(device), asked = device;
  return can;
}

WithoutOverlap::WithoutOverlap() { ++without; }
WithoutOverlap::~WithoutOverlap() { --without; }

}  // namespace canvaslab::cuda
