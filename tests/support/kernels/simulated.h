#pragma once
// Kernels thread by thread on the processor. Nobody can touch their memory from a block's beginning until all its threads have waited for earlier kernels: who does so dies, and says why.
#include "tests/support/simt.h"

#if defined(__SANITIZE_ADDRESS__)
#include "tests/support/kernels/host.h"  // which then shows more than what is hidden here would
#else
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string_view>

#include "tests/support/kernels/memory.h"

namespace canvaslab {

/// Addresses one behind the other, so that one call hides all.
class SimulatedMemory {
 public:
  static SimulatedMemory& get() {
    static auto* memory = new SimulatedMemory;  // vectors of tests may outlive everything
    return *memory;
  }
  void* allocate(size_t bytes) {
    const size_t size = std::bit_ceil(bytes + 256);
    auto& free = free_[size];
    if (!free.empty()) {
      char* memory = free.back();
      free.pop_back();
      return memory;
    }
    char* memory = base_ + used_;
    if (used_ + size > kBytes) throw std::bad_alloc();
    used_ += size;
    sizes_[memory] = size;
    hide(false);
    return memory;
  }
  void release(void* memory) noexcept { free_[sizes_.at(static_cast<char*>(memory))].push_back(static_cast<char*>(memory)); }

 private:
  static constexpr size_t kBytes = size_t{64} << 30;  // of addresses
  SimulatedMemory() : base_(static_cast<char*>(::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    simt::hide_memory = [this](bool hidden) { hide(hidden); };
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* what, void*) {
      ::signal(SIGSEGV, SIG_DFL);  // it comes again, and then ends the program
      const SimulatedMemory& memory = get();
      constexpr std::string_view kText = "kernels' memory is touched before all threads have waited for earlier kernels\n";
      if (what->si_addr >= memory.base_ && what->si_addr < memory.base_ + memory.used_ && ::write(2, kText.data(), kText.size()) < 0) ::_exit(1);
    };
    ::sigaction(SIGSEGV, &action, nullptr);
  }
  void hide(bool hidden) { ::mprotect(base_, (used_ + 4095) / 4096 * 4096, hidden ? PROT_NONE : PROT_READ | PROT_WRITE); }

  char* base_;
  size_t used_ = 0;
  std::map<char*, size_t> sizes_;
  std::map<size_t, std::vector<char*>> free_;
};

inline void* kernel_allocate(size_t bytes) { return SimulatedMemory::get().allocate(bytes); }
inline void kernel_release(void* memory) noexcept { SimulatedMemory::get().release(memory); }
inline std::string kernels_missing() { return ""; }

/// Full sizes are for the device.
inline constexpr bool kFullSizes = false;

}  // namespace canvaslab
#endif
