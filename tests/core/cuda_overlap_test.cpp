// The simulator's earlier and later kernels: what a kernel may not do before it has waited, and that it is seen.
#include "tests/support/kernels/simulated.h"

#include <gtest/gtest.h>

#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/cuda/tensor_core.cuh"

namespace canvaslab::cuda {
namespace {

constexpr int kThreads = 64;

/// What a kernel leaves out or does too early.
enum class Mistake { kNone, kNoWait, kOneThreadDoesNotWait, kEndsBefore, kWaitsTwice, kBarrierBefore, kShuffleBefore, kCopyBefore, kNoLetting, kLetsBefore, kLetsTwice, kReadsBefore, kWritesBefore };

/// out[i] = in[i] + 1, by two blocks.
__global__ void add_one_kernel(const int32_t* in, int32_t* out, Mistake mistake) {
  CANVASLAB_DYNAMIC_SHARED(memory);
  const int thread = static_cast<int>(threadIdx.x), at = static_cast<int>(blockIdx.x) * kThreads + thread;
  int32_t early = 0;
  if (mistake == Mistake::kEndsBefore && thread == 5) return;
  if (mistake == Mistake::kBarrierBefore) __syncthreads();
  if (mistake == Mistake::kShuffleBefore) early = warp_sum(early);
  if (mistake == Mistake::kCopyBefore) copy_16(memory, in, true);
  if (mistake == Mistake::kLetsBefore) let_later_kernels_begin();
  if (mistake == Mistake::kReadsBefore && at == kThreads + 7) early = in[at] - 3;
  if (mistake == Mistake::kWritesBefore && at == kThreads + 7) out[at] = 0;
  if (mistake != Mistake::kNoWait && !(mistake == Mistake::kOneThreadDoesNotWait && thread == 5)) wait_for_earlier_kernels();
  if (mistake == Mistake::kWaitsTwice) wait_for_earlier_kernels();
  if (mistake != Mistake::kNoLetting || thread != 5) let_later_kernels_begin();
  if (mistake == Mistake::kLetsTwice) let_later_kernels_begin();
  out[at] = in[at] + 1 + early;
}

/// Right, wrong, or the error of a thread, in both orders of threads.
std::string outcome(Mistake mistake) {
  std::string text;
  for (const bool falling : {false, true}) {
    KernelVector<int32_t> in(2 * kThreads, 3), out(2 * kThreads, 0);
    try {
      simt::launch(2, kThreads, 16, [&] { add_one_kernel(in.data(), out.data(), mistake); }, falling);
      text += out == KernelVector<int32_t>(2 * kThreads, 4) ? "right; " : "wrong; ";
    } catch (const std::logic_error& error) {
      EXPECT_EQ(in[0], 3) << "memory is there again";
      text += fmt::format("{}; ", error.what());
    }
  }
  return text;
}

TEST(SimtOverlap, LetsThroughWhoWaitsFirst) { EXPECT_EQ(outcome(Mistake::kNone), "right; right; "); }

TEST(SimtOverlap, WantsEveryThreadToWaitOnce) {
  EXPECT_EQ(outcome(Mistake::kNoWait), "thread 0 has not waited for earlier kernels; thread 63 has not waited for earlier kernels; ");
  for (const Mistake mistake : {Mistake::kOneThreadDoesNotWait, Mistake::kEndsBefore}) EXPECT_EQ(outcome(mistake), "thread 5 has not waited for earlier kernels; thread 5 has not waited for earlier kernels; ");
  EXPECT_EQ(outcome(Mistake::kWaitsTwice), "thread 0 waits for earlier kernels twice; thread 63 waits for earlier kernels twice; ");
}

TEST(SimtOverlap, WantsTheWaitFirst) {
  for (const Mistake mistake : {Mistake::kBarrierBefore, Mistake::kShuffleBefore, Mistake::kCopyBefore, Mistake::kLetsBefore})
    EXPECT_EQ(outcome(mistake), "thread 0 has not waited for earlier kernels; thread 63 has not waited for earlier kernels; ") << static_cast<int>(mistake);
}

TEST(SimtOverlap, WantsEveryThreadToLetLaterOnesBeginOnce) {
  EXPECT_EQ(outcome(Mistake::kNoLetting), "thread 5 ends without letting later kernels begin; thread 5 ends without letting later kernels begin; ");
  EXPECT_EQ(outcome(Mistake::kLetsTwice), "thread 0 lets later kernels begin twice; thread 63 lets later kernels begin twice; ");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(SimtOverlapDeathTest, HidesMemoryUntilAllHaveWaited) {
  for (const Mistake mistake : {Mistake::kReadsBefore, Mistake::kWritesBefore})
    EXPECT_EXIT(outcome(mistake), ::testing::KilledBySignal(SIGSEGV), "touched before all threads have waited") << static_cast<int>(mistake);
}
#endif

}  // namespace
}  // namespace canvaslab::cuda
