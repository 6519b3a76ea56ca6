#include "core/network/caching_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace canvaslab {
namespace {

constexpr size_t kAlignment = 64;

/// Blocks start with their size, so that delete needs the pointer only.
class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &give_back, c10::Device(c10::DeviceType::CPU)};
    void* data = take(bytes);
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  struct Free {
    std::mutex mutex;
    std::unordered_map<size_t, std::vector<char*>> blocks;
  };
  static Free& free_blocks() {
    static Free& all = *new Free;  // outlives every tensor
    return all;
  }
  /// Eight sizes between powers of two: at most an eighth is wasted, and sizes that differ a little share a list.
  static size_t rounded(size_t bytes) {
    size_t step = kAlignment;
    while (step * 16 < bytes) step *= 2;
    return (bytes + step - 1) / step * step;
  }
  static void* take(size_t bytes) {
    const size_t size = rounded(bytes);
    Free& all = free_blocks();
    {
      const std::scoped_lock lock(all.mutex);
      auto& list = all.blocks[size];
      if (!list.empty()) {
        char* block = list.back();
        list.pop_back();
        return block + kAlignment;
      }
    }
    auto* block = static_cast<char*>(std::aligned_alloc(kAlignment, size + kAlignment));
    if (!block) throw std::bad_alloc();
    std::memcpy(block, &size, sizeof size);
    return block + kAlignment;
  }
  static void give_back(void* data) {
    if (!data) return;
    char* block = static_cast<char*>(data) - kAlignment;
    size_t size = 0;
    std::memcpy(&size, block, sizeof size);
    Free& all = free_blocks();
    const std::scoped_lock lock(all.mutex);
    all.blocks[size].push_back(block);
  }
};

}  // namespace

void keep_tensor_memory() {
  static CachingAllocator& allocator = *new CachingAllocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

}  // namespace canvaslab
