#pragma once
// A GPU whose kernels run thread by thread on the processor, behind the interface that the network's host code uses. Its memory can be touched by its own calls alone: host code that reads it dies, and a
// call that is given the host's memory is refused, as on a GPU.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>

#include "tests/support/kernels/simulated_launchers.h"

#include "core/kernels/cuda/device.h"

namespace canvaslab::cuda {

class SimulatedDevice final : public Device {
 public:
  SimulatedDevice() : base_(static_cast<char*>(::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (base_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~SimulatedDevice() override { ::munmap(base_, kBytes); }
  SimulatedDevice(const SimulatedDevice&) = delete;
  SimulatedDevice& operator=(const SimulatedDevice&) = delete;

  std::string name() const override { return "the simulated GPU"; }
  std::string error_text(int error) const override { return "error " + std::to_string(error); }
  void* allocate(int64_t bytes) override {
    const auto size = (static_cast<size_t>(bytes) + 255) / 512 * 512 + 256;  // an odd multiple of 256: nothing is aligned better than it has to be
    if (bytes > room || used_ + size > kBytes) return nullptr;
    char* memory = base_ + used_;
    used_ += size;
    sizes_[memory] = size;
    ever_allocated += bytes;
    const Open open(*this);
    std::memset(memory, 0xFF, size);  // NaN: what nobody wrote shows
    return memory;
  }
  /// Never handed out again: what is still used shows as well.
  void release(void* memory) noexcept override {
    const Open open(*this);
    std::memset(memory, 0xFF, sizes_.at(static_cast<char*>(memory)));
  }
  int upload(void* to, const void* from, int64_t bytes) override {
    require(to, "the goal of an upload");
    refuse(from, "the source of an upload");
    const Open open(*this);
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return 0;
  }
  int download(void* to, const void* from, int64_t bytes) override {
    refuse(to, "the goal of a download");
    require(from, "the source of a download");
    const Open open(*this);
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return failure;
  }
  int copy(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes, int64_t count) override {
    require(to, "the goal of a copy");
    require(from, "the source of a copy");
    if (count > 1 && (to_stride < bytes || from_stride < bytes)) return 12;  // cudaErrorInvalidPitchValue
    const Open open(*this);
    for (int64_t i = 0; i < count; ++i) std::memcpy(static_cast<char*>(to) + i * to_stride, static_cast<const char*>(from) + i * from_stride, static_cast<size_t>(bytes));
    return 0;
  }
  int forward(const ForwardCall& call, const ForwardWorkspace& work) override {
    const Open open(*this);
    require_forward(call, work);
    const int error = denoiser_forward(call, work, nullptr);
    if (after_forward) after_forward(call);
    return error;
  }
  int denoise_loop(const LoopCall& loop, const ForwardCall& first, const ForwardCall& next, const ForwardWorkspace& work) override {
    const Open open(*this);
    require_all("an argument of a loop", {loop.canvases, loop.steps, loop.step, loop.finished, loop.running, loop.feedback_inverse_temperature, loop.statistics_rows, loop.accept_canvases, loop.statistics.logits,
                                          loop.statistics.rows, loop.statistics.bad_row, loop.accept.canvases, loop.accept.canvas, loop.accept.allowed, loop.accept.last_argmax, loop.accept.stop, loop.record});
    ++num_loops;
    for (const ForwardCall* forward = &first;; forward = &next) {
      require_forward(*forward, work);
      if (const int error = begin_step(loop, nullptr)) return error;
      if (const int error = denoiser_forward(*forward, work, nullptr)) return error;
      if (after_forward) after_forward(*forward);
      if (const int error = row_statistics(loop.statistics, nullptr)) return error;
      if (const int error = entropy_bound_step(loop.accept, nullptr)) return error;
      if (const int error = end_step(loop, nullptr)) return error;
      if (*loop.running == 0) return 0;
    }
  }
  bool looped_alone() const override { return false; }
  bool looped_overlapping() const override { return false; }
  int statistics(const StatisticsCall& call) override {
    const Open open(*this);
    require_all("an argument of the statistics", {call.logits, call.rows, call.bad_row});
    return row_statistics(call, nullptr);
  }

  int64_t room = std::numeric_limits<int64_t>::max();  ///< the largest allocation that succeeds
  int failure = 0;                                     ///< what downloads return
  int32_t most_canvases = 0, num_forwards = 0, num_loops = 0;
  int64_t ever_allocated = 0;                          ///< bytes
  std::function<void(const ForwardCall&)> after_forward;  ///< sees the device's memory

 private:
  static constexpr size_t kBytes = size_t{8} << 30;    // of addresses
  /// The device's own calls see its memory, kernels once they have waited for those before.
  struct Open {
    explicit Open(SimulatedDevice& device) : lock(device.lock_), d(device), hide_before(std::exchange(simt::hide_memory, [&device](bool hidden) { device.show(!hidden); })) { d.show(true); }
    ~Open() {
      d.show(false);
      simt::hide_memory = std::move(hide_before);
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    std::lock_guard<std::mutex> lock;
    SimulatedDevice& d;
    std::function<void(bool)> hide_before;
  };
  void show(bool shown) { ::mprotect(base_, used_, shown ? PROT_READ | PROT_WRITE : PROT_NONE); }
  std::mutex lock_;
  bool holds(const void* pointer) const { return pointer >= base_ && pointer < base_ + used_; }
  void require(const void* pointer, const char* what) const {
    if (!holds(pointer)) throw std::logic_error(std::string(what) + " does not lie in the device's memory");
  }
  void require_forward(const ForwardCall& call, const ForwardWorkspace& work) {
    require_all("an argument of a forward", {call.ids, call.embedding, call.head, call.final_norm, call.conditioning_norm, call.conditioning_gate_up.codes, call.conditioning_down.codes, work.x, work.layer});
    for (int32_t i = 0; i < call.num_canvases; ++i)
      if (call.canvases[i].feedback) require(call.canvases[i].feedback, "a prediction");
    for (int32_t i = 0; i < call.num_layers; ++i) {
      const ForwardLayer& layer = call.layers[i];
      require_all("an argument of a layer", {layer.input_norm, layer.cos, layer.sin, layer.sequences});
      for (const Weights* w : {&layer.w.qkv, &layer.w.o, &layer.w.gate_up, &layer.w.down, &layer.w.router, &layer.w.experts_gate_up, &layer.w.experts_down}) {
        require(w->codes, "weights");
        if (w->group_scales) require(w->group_scales, "scales");
        if (w->row_scales) require(w->row_scales, "scales");
      }
      for (int32_t c = 0; c < call.num_canvases; ++c)
        for (const KeySpan* keys : {&layer.sequences[c].cached, &layer.sequences[c].fresh})
          if (keys->count > 0) require(keys->k, "keys"), require(keys->v, "values");
      if (layer.append.k) require(layer.append.k, "keys"), require(layer.append.v, "values");
      if (layer.from) require(layer.from, "limits of attention"), require(layer.to, "limits of attention");
    }
    most_canvases = std::max(most_canvases, call.num_canvases);
    ++num_forwards;
  }
  void require_all(const char* what, std::initializer_list<const void*> pointers) const {
    for (const void* pointer : pointers) require(pointer, what);
  }
  void refuse(const void* pointer, const char* what) const {
    if (holds(pointer)) throw std::logic_error(std::string(what) + " does not lie in the host's memory");
  }

  char* base_;
  size_t used_ = 0;
  std::map<char*, size_t> sizes_;
};

}  // namespace canvaslab::cuda
