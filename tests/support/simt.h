#pragma once
// Runs CUDA kernels on the processor, thread by thread: what can be checked of them without a GPU. Include before the kernel's header.
//
// Every thread of a block is a fiber. It runs until it waits: at __syncthreads() for its block, at a shuffle or ballot for its warp. When all that can run are waiting, those whose wait is over
// go on; if there are none, the kernel hangs and an error says where everybody stands. Blocks run one after another, so `static` stands for __shared__. Fibers run in rising order, all warps
// side by side, or, to uncover races, in falling order, one warp as far as it comes before the next: a barrier that is missing then shows. Shared memory is filled with 0xFF (NaN) before every
// block, so that what nobody wrote shows.
//
// Tensor cores, matrix loads and asynchronous copies are there as what they mean. A copy happens when the thread waits for it, the latest that the hardware may, or in falling order at once, the soonest: a
// wait or a barrier that is missing shows in one of them. A product's sum is made in f32 in rising order, where the hardware's order is its own.
// A warpgroup's products are made warp by warp: where copies come late, at once, and where copies come at once, when the warp waits for them. So what is read before it is there shows in one order, and
// what is written over or looked at before products are through with it in the other. They read shared memory as the asynchronous proxy sees it: 16 bytes that were copied are NaN there until the thread
// that copied them, after its wait, makes its fence. Ordinary writes to shared memory never arrive there.
// A kernel's first words are those of core/kernels/cuda/overlap.cuh, and no thread goes on before all of the block have said them: where they are left out, come late or come twice, an error says so. Until then
// memory that kernels write can be hidden (hide_memory).
// What there is not: clusters, bulk copies, memory order between running threads. A kernel of these passes a GPU or is not tested.
#define CANVASLAB_SIMT 1
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace canvaslab::simt {

struct Index {
  unsigned x = 0;
};

inline constexpr size_t kStackBytes = 1 << 16;

enum class Wait { kNothing, kBlock, kWarp, kDone, kEarlier };

/// Told true before the threads of a block begin, and false when all of them have waited for earlier kernels. May be empty.
inline std::function<void(bool hidden)> hide_memory;
/// Told of every line of memory that is asked for ahead of time. May be empty.
inline std::function<void(const void* line)> on_prefetch;

/// Of the fibers; kept from block to block.
inline char* stack(size_t fiber) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= fiber) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStackBytes));
  return stacks[fiber].get();
}

struct Fiber {
  ucontext_t context{};                   ///< where it begins
  jmp_buf at{};                           ///< where it waits: a switch of contexts would ask the system for the signal mask every time
  bool begun = false;
  Wait wait = Wait::kNothing;
  uint64_t offered = 0;                   ///< what this lane gives to the shuffle
  const void* shown = nullptr;            ///< what the warp may look at
  struct Copy {
    void* to;
    const void* from;
    bool present;                         ///< else zeros are written
  };
  std::vector<Copy> asked;                ///< copies since the last commit
  std::vector<std::vector<Copy>> groups;  ///< committed, oldest first
  std::vector<void*> unfenced;            ///< where copies went since the last fence of the asynchronous proxy
  std::vector<std::function<void()>> products;                      ///< asked for since the last commit, still to be made
  std::vector<std::vector<std::function<void()>>> product_groups;   ///< committed, oldest first
  bool sums_fenced = false;               ///< since the last wait for products
  size_t num_products = 0;
  bool waited = false, let = false;       ///< it has waited for earlier kernels; it has let later ones begin
};

/// One block's machine. There is one at a time.
class Block {
 public:
  static Block*& current() {
    static Block* block = nullptr;
    return block;
  }
  Block(unsigned block_index, unsigned num_blocks, unsigned threads, size_t shared_bytes, std::function<void()> kernel, bool falling)
      : index{block_index}, size{threads}, grid{num_blocks}, fibers_(threads), shared_((shared_bytes + 7) / 8, std::bit_cast<double>(~uint64_t{0})), kernel_(std::move(kernel)), falling_(falling) {}

  void run() {
    current() = this;
    hidden_.emplace();
    for (size_t i = 0; i < fibers_.size(); ++i) {
      Fiber& fiber = fibers_[i];
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = stack(i);
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, &Block::start, 0);
    }
    while (std::any_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.wait != Wait::kDone; })) {
      const bool ran = falling_ ? run_last_warp() : run_all();
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      if (!ran && !release()) throw std::logic_error(fmt::format("block {} hangs: {}", index.x, standing()));
    }
    current() = nullptr;
    for (size_t i = 0; i < fibers_.size(); ++i) {
      if (!fibers_[i].products.empty() || !fibers_[i].product_groups.empty()) throw std::logic_error(fmt::format("thread {} ended before its products did", i));
      if (fibers_[i].num_products != fibers_[i / 128 * 128].num_products) throw std::logic_error(fmt::format("thread {} made another number of products than its warpgroup", i));
    }
  }

  /// Called by fibers.
  unsigned thread() const { return now_; }
  double* shared() { return shared_.data(); }
  void wait_for_block() { pause(Wait::kBlock); }
  void wait_for_earlier_kernels() {
    if (std::exchange(fibers_[now_].waited, true)) throw std::logic_error(fmt::format("thread {} waits for earlier kernels twice", now_));
    pause(Wait::kEarlier);
  }
  void let_later_kernels_begin() {
    require_waited();
    if (std::exchange(fibers_[now_].let, true)) throw std::logic_error(fmt::format("thread {} lets later kernels begin twice", now_));
  }
  /// Gives `value` and, once the whole warp has given one, takes lane `from`'s.
  uint64_t exchange(uint64_t value, unsigned from) {
    fibers_[now_].offered = value;
    pause(Wait::kWarp);
    const uint64_t got = fibers_[now_ / 32 * 32 + from % 32].offered;
    pause(Wait::kWarp);  // nobody offers anew before all have read
    return got;
  }
  /// Shows `mine` to the warp and gives what `read` makes of the lanes' things: a function from lane to pointer is its argument.
  template <typename T, typename Read>
  auto together(const T& mine, Read read) {
    fibers_[now_].shown = &mine;
    pause(Wait::kWarp);
    const unsigned first = now_ / 32 * 32;
    const auto got = read([&](unsigned lane) -> const T& { return *static_cast<const T*>(fibers_[first + lane].shown); });
    pause(Wait::kWarp);  // nobody's thing goes before all have read
    return got;
  }
  void ask(void* to, const void* from, bool present) {
    require_waited();
    if ((reinterpret_cast<uintptr_t>(to) | (present ? reinterpret_cast<uintptr_t>(from) : 0)) % 16 != 0) throw std::logic_error("an asynchronous copy of 16 bytes is not aligned to 16 bytes");
    const Fiber::Copy copy{to, from, present};
    if (falling_) make(copy);  // the soonest that the hardware may, where rising order has the latest
    else fibers_[now_].asked.push_back(copy);
  }
  void make(const Fiber::Copy& copy) {
    if (copy.present) std::memcpy(copy.to, copy.from, 16);
    else std::memset(copy.to, 0, 16);
    fibers_[now_].unfenced.push_back(copy.to);
    if (char* seen = async_view(copy.to)) std::memset(seen, 0xFF, 16);
  }
  void commit() { fibers_[now_].groups.push_back(std::exchange(fibers_[now_].asked, {})); }
  /// Makes the copies of all groups but the youngest `most`.
  void wait_for_copies(size_t most) {
    auto& groups = fibers_[now_].groups;
    while (groups.size() > most) {
      for (const auto& copy : groups.front()) make(copy);
      groups.erase(groups.begin());
    }
  }

  /// Dynamic shared memory begins behind some that is static, aligned as it is declared and no better.
  static constexpr uint32_t kSharedBegin = 2064;
  uint32_t shared_address(const void* shared) const { return kSharedBegin + static_cast<uint32_t>(static_cast<const char*>(shared) - reinterpret_cast<const char*>(shared_.data())); }
  void fence_async_proxy() {
    if (async_.empty()) async_.assign(shared_.size() * sizeof(double), '\xFF');  // nothing was fenced before, so there was nothing to see
    for (const void* at : std::exchange(fibers_[now_].unfenced, {}))
      if (char* seen = async_view(at)) std::memcpy(seen, at, 16);
  }
  void fence_sums() {
    pause(Wait::kWarp);
    fibers_[now_].sums_fenced = true;
  }
  /// The 16 bytes at a shared address as the asynchronous proxy sees them.
  const char* async_bytes(uint32_t address) const {
    if (address < kSharedBegin || address + 16 - kSharedBegin > async_.size()) throw std::logic_error(fmt::format("a product reads outside of shared memory or of what was fenced, at {}", address));
    return async_.data() + (address - kSharedBegin);
  }
  /// A warpgroup's product with these descriptors; make() does this thread's part.
  void multiply(uint64_t a, uint64_t b, bool add, std::function<void()> make) {
    Fiber& fiber = fibers_[now_];
    if (fibers_.size() % 128 != 0) throw std::logic_error("a block of products has no whole warpgroups");
    if (!fiber.sums_fenced) throw std::logic_error("a product without a fence of its sums before");
    auto& asked = descriptors_[{now_ / 128, fiber.num_products++}];
    if (asked.empty()) asked = {a, b, add};
    if (asked != std::vector<uint64_t>{a, b, add}) throw std::logic_error("the threads of a warpgroup give different products");
    pause(Wait::kWarp);
    if (falling_) fiber.products.push_back(std::move(make));
    else make();
  }
  void commit_products() {
    fibers_[now_].product_groups.push_back(std::exchange(fibers_[now_].products, {}));
    pause(Wait::kWarp);
  }
  void wait_for_products(size_t most) {
    auto& groups = fibers_[now_].product_groups;
    while (groups.size() > most) {
      for (const auto& make : groups.front()) make();
      groups.erase(groups.begin());
    }
    fibers_[now_].sums_fenced = false;
    pause(Wait::kWarp);
  }

  const Index index, size, grid;

 private:
  /// Where the asynchronous proxy sees this place of dynamic shared memory; null: somewhere else, or nothing was fenced yet.
  char* async_view(const void* at) {
    const std::ptrdiff_t offset = static_cast<const char*>(at) - reinterpret_cast<const char*>(shared_.data());
    return offset >= 0 && offset + 16 <= static_cast<std::ptrdiff_t>(async_.size()) ? async_.data() + offset : nullptr;
  }
  static void start() {
    Block* block = current();
    try {
      block->kernel_();
      block->require_waited();
      if (!block->fibers_[block->now_].let) throw std::logic_error(fmt::format("thread {} ends without letting later kernels begin", block->now_));
    } catch (...) {
      if (!block->error_) block->error_ = std::current_exception();
    }
    block->fibers_[block->now_].wait = Wait::kDone;
    _longjmp(block->scheduler_, 1);
  }
  /// Runs a fiber until it waits or is done.
  void enter(Fiber& fiber) {
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    setcontext(&fiber.context);
  }
  bool run(std::span<Fiber> some) {
    bool ran = false;
    for (size_t i = 0; i < some.size(); ++i) {
      Fiber& fiber = some[falling_ ? some.size() - 1 - i : i];
      now_ = static_cast<unsigned>(&fiber - fibers_.data());
      if (fiber.wait != Wait::kNothing) continue;
      enter(fiber);
      ran = true;
    }
    return ran;
  }
  bool run_all() { return run(std::span(fibers_)); }
  /// Takes the last warp that can go on a step further.
  bool run_last_warp() {
    for (size_t first = (fibers_.size() - 1) / 32 * 32 + 32; first > 0;) {
      first -= 32;
      const auto warp = warp_at(first);
      if (run(warp) || release(warp)) return true;
    }
    return false;
  }
  std::span<Fiber> warp_at(size_t first) { return std::span(fibers_).subspan(first, std::min<size_t>(32, fibers_.size() - first)); }
  static bool release(std::span<Fiber> warp) {
    if (!std::all_of(warp.begin(), warp.end(), [](const Fiber& f) { return f.wait == Wait::kWarp; })) return false;
    for (auto& fiber : warp) fiber.wait = Wait::kNothing;
    return true;
  }
  void require_waited() const {
    if (!fibers_[now_].waited) throw std::logic_error(fmt::format("thread {} has not waited for earlier kernels", now_));
  }
  void pause(Wait wait) {
    require_waited();
    const unsigned self = now_;
    fibers_[self].wait = wait;
    if (_setjmp(fibers_[self].at) == 0) _longjmp(scheduler_, 1);
  }
  /// Warps that all wait for each other go on; else the block does when all of it waits. Threads that are done count as there.
  bool release() {
    bool any = false;
    for (size_t first = 0; first < fibers_.size(); first += 32) any = release(warp_at(first)) || any;
    if (any) return true;
    if (std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.wait == Wait::kEarlier; })) {
      hidden_.reset();
      for (auto& fiber : fibers_) fiber.wait = Wait::kNothing;
      return true;
    }
    if (!std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.wait == Wait::kBlock || f.wait == Wait::kDone; })) return false;
    for (auto& fiber : fibers_)
      if (fiber.wait == Wait::kBlock) fiber.wait = Wait::kNothing, any = true;
    return any;
  }
  std::string standing() const {
    size_t count[5] = {};
    for (const auto& fiber : fibers_) ++count[static_cast<size_t>(fiber.wait)];
    return fmt::format("{} threads wait for the block, {} for their warp, {} for earlier kernels, {} are done", count[1], count[2], count[4], count[3]);
  }

  struct Hidden {
    Hidden() { tell(true); }
    ~Hidden() { tell(false); }
    Hidden(const Hidden&) = delete;
    Hidden& operator=(const Hidden&) = delete;
    static void tell(bool hidden) {
      if (hide_memory) hide_memory(hidden);
    }
  };

  std::optional<Hidden> hidden_;                                                ///< until all have waited for earlier kernels
  std::vector<Fiber> fibers_;
  std::vector<double> shared_;
  std::vector<char> async_;                                                     ///< shared memory as the asynchronous proxy sees it; empty until the first fence
  std::map<std::pair<unsigned, size_t>, std::vector<uint64_t>> descriptors_;    ///< of the products of every warpgroup, in their order
  std::function<void()> kernel_;
  bool falling_;
  std::exception_ptr error_;                                                    ///< of the first thread that has one: what runs the block throws it
  jmp_buf scheduler_{};
  unsigned now_ = 0;
};

/// kernel<<<blocks, threads, shared_bytes>>>().
inline void launch(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel, bool falling = false) {
  for (unsigned b = 0; b < blocks; ++b) Block(falling ? blocks - 1 - b : b, blocks, threads, shared_bytes, kernel, falling).run();
}

struct ThreadIndex {
  struct X {
    operator unsigned() const { return Block::current()->thread(); }
  } x;
};
struct BlockIndex {
  struct X {
    operator unsigned() const { return Block::current()->index.x; }
  } x;
};

struct GridSize {
  struct X {
    operator unsigned() const { return Block::current()->grid.x; }
  } x;
};

template <typename T>
T exchanged(T value, unsigned from) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = Block::current()->exchange(bits, from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace canvaslab::simt

// The words themselves. Shared variables are static: one block at a time.
#define __global__ static inline  // of one file: programs hold the device's kernels of the same names as well
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define CANVASLAB_UNROLL
#define CANVASLAB_ROLLED
#define CANVASLAB_DYNAMIC_SHARED(name) double* name = canvaslab::simt::Block::current()->shared()

[[maybe_unused]] static constexpr canvaslab::simt::ThreadIndex threadIdx{};
[[maybe_unused]] static constexpr canvaslab::simt::BlockIndex blockIdx{};
[[maybe_unused]] static constexpr canvaslab::simt::GridSize gridDim{};

namespace canvaslab::cuda {

using std::exp, std::log, std::max, std::min;

// core/kernels/cuda/dialect.cuh.
template <typename T>
T load_16(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) throw std::logic_error("a load of 16 bytes is not aligned to 16 bytes");
  T out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

// core/kernels/cuda/overlap.cuh.
inline void wait_for_earlier_kernels() { simt::Block::current()->wait_for_earlier_kernels(); }
inline void let_later_kernels_begin() { simt::Block::current()->let_later_kernels_begin(); }
inline void prefetch_line(const void* global) {
  if (simt::on_prefetch) simt::on_prefetch(global);
}

inline void __syncthreads() { simt::Block::current()->wait_for_block(); }
template <typename T>
T __shfl_sync(unsigned, T value, int from) {
  return simt::exchanged(value, static_cast<unsigned>(from));
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return simt::exchanged(value, simt::Block::current()->thread() % 32 ^ static_cast<unsigned>(mask));
}
inline unsigned __ballot_sync(unsigned, bool yes) {
  unsigned out = 0;
  for (unsigned lane = 0; lane < 32; ++lane) out |= static_cast<unsigned>(simt::exchanged(yes, lane)) << lane;
  return out;
}
// core/kernels/cuda/tensor_core.cuh, as what its words mean.
inline void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Fragments {
    uint32_t a[4], b[2];
  } mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const auto value = [](uint32_t two, unsigned k) { return std::bit_cast<float>(k % 2 == 0 ? two << 16 : two & 0xFFFF0000u); };
  const unsigned lane = simt::Block::current()->thread() % 32;
  const auto sums = simt::Block::current()->together(mine, [&](auto lanes) {
    std::array<float, 4> out{};
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      out[i] = d[i];
      for (unsigned k = 0; k < 16; ++k) out[i] += value(lanes(row % 8 * 4 + k % 8 / 2).a[row / 8 + 2 * (k / 8)], k) * value(lanes(column * 4 + k % 8 / 2).b[k / 8], k);
    }
    return out;
  });
  std::memcpy(d, sums.data(), sizeof d);
}
/// The rows of four matrices of 8 by 8 as the lanes give them, in `element(matrix, row, column)`.
template <typename Take>
void load_matrices_as(uint32_t (&out)[4], const void* row, Take take) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) throw std::logic_error("a matrix row is not aligned to 16 bytes");
  const auto got = simt::Block::current()->together(static_cast<const uint16_t*>(row), [&](auto lanes) {
    std::array<uint32_t, 4> words{};
    for (unsigned i = 0; i < 4; ++i) words[i] = take([&](unsigned r, unsigned c) { return static_cast<uint32_t>(lanes(8 * i + r)[c]); });
    return words;
  });
  std::memcpy(out, got.data(), sizeof out);
}
inline void load_matrices(uint32_t (&out)[4], const void* row) {
  const unsigned lane = simt::Block::current()->thread() % 32;
  load_matrices_as(out, row, [=](auto element) { return element(lane / 4, lane % 4 * 2) | element(lane / 4, lane % 4 * 2 + 1) << 16; });
}
inline void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  const unsigned lane = simt::Block::current()->thread() % 32;
  load_matrices_as(out, row, [=](auto element) { return element(lane % 4 * 2, lane / 4) | element(lane % 4 * 2 + 1, lane / 4) << 16; });
}
inline void copy_16(void* shared, const void* global, bool present) { simt::Block::current()->ask(shared, global, present); }
inline void commit_copies() { simt::Block::current()->commit(); }
template <int kMost>
void wait_for_copies() {
  simt::Block::current()->wait_for_copies(kMost);
}

// core/kernels/cuda/warpgroup.cuh likewise.
inline uint32_t shared_address(const void* shared) { return simt::Block::current()->shared_address(shared); }
inline void fence_async_proxy() { simt::Block::current()->fence_async_proxy(); }
inline void fence_sums() { simt::Block::current()->fence_sums(); }
inline void commit_products() { simt::Block::current()->commit_products(); }
template <int kMost>
void wait_for_products() {
  simt::Block::current()->wait_for_products(kMost);
}
template <int kCount>
void sums_are_there(float (&)[kCount]) {}
/// A factor's 16 numbers of row `row`, found as the hardware finds them: the swizzle is in the bits of the address.
inline std::array<float, 16> factor_row(uint64_t descriptor, unsigned row) {
  const auto field = [=](unsigned from) { return static_cast<uint32_t>(descriptor >> from & 0x3FFF) * 16; };
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) throw std::logic_error("a factor is not swizzled in 128 bytes from where the swizzle begins");
  if (field(0) % 1024 >= 128) throw std::logic_error("a factor does not begin at a multiple of 1024 bytes");
  std::array<float, 16> out{};
  for (unsigned half = 0; half < 2; ++half) {
    const uint32_t address = field(0) + row / 8 * field(32) + row % 8 * 128 + half * 16;
    uint16_t codes[8];
    std::memcpy(codes, simt::Block::current()->async_bytes(address ^ (address >> 7 & 7) << 4), sizeof codes);
    for (unsigned i = 0; i < 8; ++i) out[half * 8 + i] = std::bit_cast<float>(static_cast<uint32_t>(codes[i]) << 16);
  }
  return out;
}
template <int kCount>
void multiply_warpgroup(float (&d)[kCount], uint64_t a, uint64_t b, bool add) {
  const unsigned thread = simt::Block::current()->thread() % 128, lane = thread % 32;
  simt::Block::current()->multiply(a, b, add, [=, &d] {
    const unsigned row = thread / 32 * 16 + lane / 4;
    const std::array<float, 16> left[2] = {factor_row(a, row), factor_row(a, row + 8)};
    for (unsigned j = 0; j < kCount / 4; ++j)
      for (unsigned side = 0; side < 2; ++side) {
        const auto right = factor_row(b, 8 * j + lane % 4 * 2 + side);
        for (unsigned below = 0; below < 2; ++below) {
          float& sum = d[4 * j + 2 * below + side];
          if (!add) sum = 0;
          for (unsigned k = 0; k < 16; ++k) sum += left[below][k] * right[k];
        }
      }
  });
}

inline void __syncwarp() { simt::exchanged(0, 0); }
// core/kernels/cuda/block_scan.cuh: no barrier behind the last look, as there is none in CUB.
template <int kThreads, typename T>
struct BlockScanScratch {
  T values[kThreads];
};
template <int kThreads, typename T>
T block_sum_before(T value, T& all, BlockScanScratch<kThreads, T>& scratch) {
  const unsigned thread = simt::Block::current()->thread();
  scratch.values[thread] = value;
  __syncthreads();
  const T before = std::accumulate(scratch.values, scratch.values + thread, T{0});
  all = std::accumulate(scratch.values + thread, scratch.values + kThreads, before);
  return before;
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline void atomicAdd(int32_t* at, int32_t value) { *at += value; }
inline void atomicMin(int32_t* at, int32_t value) { *at = std::min(*at, value); }

}  // namespace canvaslab::cuda
