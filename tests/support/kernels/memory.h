#pragma once
// The checks of this folder run kernels twice: thread by thread on the processor (tests/core) and on a GPU (tests/cuda). What differs is where memory comes from, who runs a call, and whether
// anything can run at all; a test program says so in simulated.h or device.h.
#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <new>
#include <string>
#include <vector>

namespace canvaslab {

/// Memory that kernels and processor both see, aligned to 256 bytes.
void* kernel_allocate(size_t bytes);
void kernel_release(void* memory) noexcept;
/// Why no kernel can run here; empty when they can.
std::string kernels_missing();

template <typename T>
struct KernelAllocator {
  using value_type = T;
  KernelAllocator() = default;
  template <typename U>
  KernelAllocator(const KernelAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(kernel_allocate(count * sizeof(T))); }
  void deallocate(T* memory, size_t) noexcept { kernel_release(memory); }
  bool operator==(const KernelAllocator&) const { return true; }
};
template <typename T>
using KernelVector = std::vector<T, KernelAllocator<T>>;

/// Test suites of kernels, skipped with the reason where none can run.
template <typename Base>
class KernelSuite : public Base {
 protected:
  void SetUp() override {
    if (const std::string why = kernels_missing(); !why.empty()) GTEST_SKIP() << "left out: " << why;
  }
};
using KernelTest = KernelSuite<::testing::Test>;
template <typename Case>
using KernelTestWith = KernelSuite<::testing::TestWithParam<Case>>;

}  // namespace canvaslab
