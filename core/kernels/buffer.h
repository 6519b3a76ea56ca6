#pragma once
// Memory for kernels: on cache lines' borders, in huge pages when large, kept from use to use.
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace canvaslab {

/// Elements that are written before they are read. Growing forgets what was there; nothing is given back before the end.
template <typename T>
class Buffer {
 public:
  /// At least `count` elements, undefined at first.
  T* get(int64_t count) {
    if (count > size_) {
      constexpr size_t kLine = 64, kHugePage = size_t{1} << 21;
      const size_t bytes = static_cast<size_t>(count) * sizeof(T), unit = bytes >= kHugePage ? kHugePage : kLine;
      memory_.reset();
      memory_.reset(static_cast<T*>(std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit)));
      size_ = memory_ ? count : 0;
      if (!memory_) throw std::bad_alloc();
      // Fresh pages cost more than what is computed on them, small ones 10 times as much; where it is refused, it is refused.
      if (unit == kHugePage) ::madvise(memory_.get(), bytes, MADV_HUGEPAGE);
    }
    return memory_.get();
  }
  T* data() { return memory_.get(); }
  const T* data() const { return memory_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace canvaslab
