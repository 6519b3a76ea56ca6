#pragma once
// A CUDA device for torch where there is none: tensors of device cuda lie in the processor's memory, torch's own operations on them are the CPU's, and the kernels run thread by thread. So the operators are
// called as on a GPU: dispatched to their CUDA implementations, with a device guard, a stream, workspaces and the kernels' launchers. What torch allocates can be touched by kernels and torch's operations
// alone: an operator that looks at a tensor from the host dies, where on a GPU it would have to wait. For one file of a test program of its own.
#include <sys/mman.h>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "tests/support/kernels/simulated_launchers.h"

namespace canvaslab::simulated_torch {

/// Two devices, one stream each.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device device) const override {
    const at::Device before = getDevice();
    uncheckedSetDevice(device);
    return before;
  }
  at::Device getDevice() const override { return {at::kCUDA, current}; }
  void setDevice(at::Device device) const override { uncheckedSetDevice(device); }
  void uncheckedSetDevice(at::Device device) const noexcept override { current = device.index(); }
  c10::Stream getStream(at::Device device) const override { return c10::Stream(c10::Stream::UNSAFE, device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void* getStreamNativeHandle(const c10::Stream stream) const override { return native_stream(stream.device().index()); }
  at::DeviceIndex deviceCount() const noexcept override { return 2; }

  /// What a launcher is given for the current stream of a device.
  static void* native_stream(at::DeviceIndex index) { return reinterpret_cast<void*>(uintptr_t{0x1000} + static_cast<uintptr_t>(index)); }
  static inline thread_local at::DeviceIndex current = 0;
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

/// The device's memory.
class Memory {
 public:
  static Memory& get() {
    static Memory memory;
    return memory;
  }
  bool holds(const void* data) const { return data >= base_ && data < base_ + kBytes; }
  /// While it is open.
  void* allocate(size_t bytes) {
    char* memory = base_ + used_;
    used_ += (bytes + kFence + 4095) / 4096 * 4096;
    if (used_ > kBytes) throw std::bad_alloc();
    protect(PROT_READ | PROT_WRITE);
    std::memset(memory + bytes, 0xA5, kFence);
    return memory;
  }
  /// Sees what was written behind the end.
  void release(void* memory, size_t bytes) {
    open(true);
    const auto* fence = static_cast<const uint8_t*>(memory) + bytes;
    EXPECT_TRUE(std::all_of(fence, fence + kFence, [](uint8_t byte) { return byte == 0xA5; })) << "somebody wrote behind the " << bytes << " bytes of a tensor";
    open(false);
    ::madvise(memory, bytes, MADV_DONTNEED);
  }
  void open(bool begins) {
    open_ += begins ? 1 : -1;
    protect(open_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  }

 private:
  static constexpr size_t kBytes = size_t{16} << 30, kFence = 256;  // of addresses
  Memory() : base_(static_cast<char*>(::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    cuda::around_launches = [this](bool begins) { open(begins); };
    simt::hide_memory = [this](bool hidden) { protect(hidden ? PROT_NONE : PROT_READ | PROT_WRITE); };  // until a kernel has waited for those before
  }
  void protect(int how) { ::mprotect(base_, used_, how); }
  char* base_;
  size_t used_ = 0;
  int open_ = 0;
};

inline at::Tensor as_host(const at::Tensor& t) { return at::for_blob(t.mutable_data_ptr(), t.sizes()).strides(t.strides()).target_device(at::kCPU).options(t.options().device(at::kCPU)).make_tensor(); }

/// A result of the CPU as one of the device: what looks at the device's memory already goes on doing so, `keep` holds it; all else moves there, and new memory holds NaN.
inline at::Tensor as_device(const at::Tensor& t, at::Device device, std::vector<at::Tensor> keep) {
  void* data = t.mutable_data_ptr();
  const size_t bytes = t.numel() == 0 ? 0 : t.storage().nbytes() - static_cast<size_t>(t.storage_offset()) * t.itemsize();
  const bool looks = Memory::get().holds(data) || std::any_of(keep.begin(), keep.end(), [&](const at::Tensor& k) { return k.numel() > 0 && k.data_ptr() <= data && data < static_cast<char*>(k.data_ptr()) + k.storage().nbytes(); });
  std::function<void(void*)> deleter = [keep](void*) {};
  if (!looks && bytes > 0) {
    void* own = Memory::get().allocate(bytes);
    if (keep.empty()) std::memset(own, 0xFF, bytes);
    else std::memcpy(own, data, bytes);
    data = own;
    deleter = [bytes](void* memory) { Memory::get().release(memory, bytes); };
  }
  return at::for_blob(data, t.sizes()).strides(t.strides()).deleter(std::move(deleter)).target_device(device).options(t.options().device(device)).make_tensor();
}

/// Torch's own operation, carried out on the same memory by the CPU.
inline void by_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t count = op.schema().arguments().size(), first = stack->size() - count;
  std::vector<at::Tensor> given;
  at::Device to(at::kCUDA, Guard::current);
  for (size_t i = first; i < first + count; ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isDevice()) {
      to = value.toDevice();
      value = at::Device(at::kCPU);
    } else if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_cuda()) {
      given.push_back(value.toTensor());
      to = given.back().device();
      value = as_host(given.back());
    }
  }
  struct Open {
    Open() { Memory::get().open(true); }
    ~Open() { Memory::get().open(false); }
  } open;
  op.callBoxed(stack);
  const size_t results = op.schema().returns().size();
  for (size_t i = 0; i < results; ++i) {
    c10::IValue& value = (*stack)[stack->size() - results + i];
    if (!value.isTensor() || !to.is_cuda()) continue;
    const at::Tensor t = value.toTensor();
    const auto* alias = op.schema().returns()[i].alias_info();
    value = alias && alias->isWrite() ? given.at(0) : as_device(t, to, given);  // in place, the first argument is what changed
  }
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>()); }
TORCH_LIBRARY_IMPL(aten, CUDA, m) { m.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>()); }  // else torch looks for the device's own copy

}  // namespace canvaslab::simulated_torch
