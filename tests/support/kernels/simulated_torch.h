#pragma once
// A CUDA device for torch where there is none: tensors of device cuda lie in the processor's memory, torch's own operations on them are the CPU's, and the kernels run thread by thread. So the operators are
// called as on a GPU: dispatched to their CUDA implementations, with a device guard, a stream, workspaces and the kernels' launchers. For one file of a test program of its own.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstring>

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

inline at::Tensor as_host(const at::Tensor& t) { return at::for_blob(t.mutable_data_ptr(), t.sizes()).strides(t.strides()).target_device(at::kCPU).options(t.options().device(at::kCPU)).make_tensor(); }
inline at::Tensor as_device(const at::Tensor& t, at::Device device, std::vector<at::Tensor> keep) {
  keep.push_back(t);  // memory stays for as long as anybody looks at it
  return at::for_blob(t.mutable_data_ptr(), t.sizes()).strides(t.strides()).deleter([keep](void*) {}).target_device(device).options(t.options().device(device)).make_tensor();
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
  op.callBoxed(stack);
  const size_t results = op.schema().returns().size();
  for (size_t i = 0; i < results; ++i) {
    c10::IValue& value = (*stack)[stack->size() - results + i];
    if (!value.isTensor() || !to.is_cuda()) continue;
    const at::Tensor t = value.toTensor();
    const auto* alias = op.schema().returns()[i].alias_info();
    if (alias && alias->isWrite()) {
      value = given.at(0);  // in place, the first argument is what changed
    } else {
      if (given.empty() && t.numel() > 0) std::memset(t.mutable_data_ptr(), 0xFF, t.nbytes());  // NaN: new memory holds anything
      value = as_device(t, to, given);
    }
  }
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>()); }
TORCH_LIBRARY_IMPL(aten, CUDA, m) { m.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>()); }  // else torch looks for the device's own copy

}  // namespace canvaslab::simulated_torch
