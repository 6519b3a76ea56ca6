#pragma once
// A GPU as the network's host code sees it: memory, copies and the kernels' calls, one after another. An interface, so that the code above it is tested with the simulator in the device's place.
#include <cstdint>
#include <memory>
#include <string>

#include "core/kernels/cuda/denoise_loop.h"
#include "core/kernels/cuda/denoiser_forward.h"
#include "core/kernels/cuda/device_step.h"

namespace canvaslab::cuda {

/// Calls are carried out in the order in which they are made; those that return int give a cudaError_t, 0 when all is well. One call at a time, from any thread; release at any time.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  virtual std::string error_text(int error) const = 0;
  /// 256-byte aligned; null when there is no room.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  /// From the host; what was copied may be changed on return.
  virtual int upload(void* to, const void* from, int64_t bytes) = 0;
  /// To the host, when all that was called before is done.
  virtual int download(void* to, const void* from, int64_t bytes) = 0;
  /// On the device: `count` pieces of `bytes` bytes, so many bytes apart; strides are of no account where there is one.
  virtual int copy(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes, int64_t count) = 0;
  virtual int forward(const ForwardCall& call, const ForwardWorkspace& work) = 0;
  virtual int statistics(const StatisticsCall& call) = 0;
  /// Steps until no canvas goes on. `first` is the first step's forward, `next` that of all others, with feedback; both in `work`, which was made of `next`.
  virtual int denoise_loop(const LoopCall& loop, const ForwardCall& first, const ForwardCall& next, const ForwardWorkspace& work) = 0;
  /// Whether the last loop ran without the host from its second step on: else the host asked after every step whether another follows.
  virtual bool looped_alone() const = 0;
  /// Whether the kernels of those steps overlapped (overlap.h).
  virtual bool looped_overlapping() const = 0;
};

/// The machine's first GPU. Null where there is none, with the reason in `why_not`. `loops_alone` false: the host stays with every loop.
std::unique_ptr<Device> open_device(std::string& why_not, bool loops_alone = true);

}  // namespace canvaslab::cuda
