// The simulator's warpgroups: one product of them, and what it shows when a step of its protocol is missing.
#include "tests/support/simt.h"

#include <gtest/gtest.h>

#include <random>

#include <fmt/format.h>

#include "core/kernels/cuda/tensor_core.cuh"
#include "core/kernels/cuda/warpgroup.cuh"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {
namespace {

constexpr int kRows = 64, kColumns = 64, kDepth = 64;

/// What a kernel leaves out or does wrongly.
enum class Mistake { kNone, kNoFence, kFenceBeforeTheWait, kNoWaitForCopies, kNoBarrier, kNoSumsFence, kNoWaitForProducts, kWaitsForTheGroupBefore, kOverwrites, kNotAligned, kNotSwizzled, kDescriptorsDiffer, kNoCommit };

/// One warpgroup: d [64, 64] = a [64, 64] times b [64, 64] transposed, all bf16 numbers.
__global__ void one_product_kernel(const uint16_t* a, const uint16_t* b, float* d, Mistake mistake) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  auto* left = reinterpret_cast<uint8_t*>(memory);
  left += (0u - shared_address(left)) % SwizzledRows::kRepeat + (mistake == Mistake::kNotAligned ? 128 : 0);
  uint8_t* right = left + kRows * SwizzledRows::kRowBytes;
  for (int i = thread; i < kRows * 8; i += 128) {
    const int row = i / 8, chunk = i % 8, at = mistake == Mistake::kNotSwizzled ? row * SwizzledRows::kRowBytes + chunk * 16 : SwizzledRows::at(row, chunk);
    copy_16(left + at, a + row * kDepth + chunk * 8, true);
    copy_16(right + at, b + row * kDepth + chunk * 8, true);
  }
  commit_copies();
  if (mistake == Mistake::kFenceBeforeTheWait) fence_async_proxy();
  if (mistake != Mistake::kNoWaitForCopies) wait_for_copies<0>();
  if (mistake == Mistake::kNoFence) {
    if (thread != 70) fence_async_proxy();  // one thread's is enough
  } else if (mistake != Mistake::kFenceBeforeTheWait) {
    fence_async_proxy();
  }
  if (mistake != Mistake::kNoBarrier) __syncthreads();
  float sums[kColumns / 2];
  for (float& sum : sums) sum = -7;
  if (mistake != Mistake::kNoSumsFence) fence_sums();
  const uint64_t w = SwizzledRows::descriptor(shared_address(left)), x = SwizzledRows::descriptor(shared_address(right)) + (mistake == Mistake::kDescriptorsDiffer && thread == 127 ? 2 : 0);
  for (int k = 0; k < kDepth / 16; ++k) multiply_warpgroup(sums, w + k * SwizzledRows::kNext16, x + k * SwizzledRows::kNext16, k > 0);
  if (mistake != Mistake::kNoCommit) commit_products();
  if (mistake == Mistake::kOverwrites) copy_16(right + SwizzledRows::at(thread / 2, thread % 2), b, true);
  if (mistake == Mistake::kWaitsForTheGroupBefore) wait_for_products<1>();
  else if (mistake != Mistake::kNoWaitForProducts) wait_for_products<0>();
  for (int j = 0; j < kColumns / 8; ++j)
    for (int i = 0; i < 4; ++i) d[(thread / 32 * 16 + lane / 4 + 8 * (i / 2)) * kColumns + 8 * j + lane % 4 * 2 + i % 2] = sums[4 * j + i];
  if (mistake == Mistake::kWaitsForTheGroupBefore) wait_for_products<0>();
}

/// Right, wrong, or the error of a thread, in both orders of threads.
std::string outcome(Mistake mistake, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint16_t> a(kRows * kDepth), b(kColumns * kDepth);
  for (auto* factor : {&a, &b})
    for (uint16_t& code : *factor) code = nearest_bf16(static_cast<float>(static_cast<int>(random() % 33) - 16));  // sums of 64 products of these are exact in f32
  std::string out;
  for (const bool falling : {false, true}) {
    std::vector<float> d(kRows * kColumns);
    try {
      simt::launch(1, 128, (kRows + kColumns) * SwizzledRows::kRowBytes + 2 * SwizzledRows::kRepeat, [&] { one_product_kernel(a.data(), b.data(), d.data(), mistake); }, falling);
    } catch (const std::logic_error& error) {
      out += fmt::format("{}; ", error.what());
      continue;
    }
    bool right = true;
    for (size_t r = 0; r < kRows; ++r)
      for (size_t c = 0; c < kColumns; ++c) {
        float sum = 0;
        for (size_t k = 0; k < kDepth; ++k) sum += from_bf16(a[r * kDepth + k]) * from_bf16(b[c * kDepth + k]);
        right = right && d[r * kColumns + c] == sum;
      }
    out += right ? "right; " : "wrong; ";
  }
  return out;
}

void expect_outcome(Mistake mistake, const std::string& expected) {
  const uint64_t seed = std::random_device()();
  EXPECT_EQ(outcome(mistake, seed), expected) << "mistake " << static_cast<int>(mistake) << ", seed " << seed;
}

TEST(SimtWarpgroups, MultiplyAsDescribed) { expect_outcome(Mistake::kNone, "right; right; "); }

TEST(SimtWarpgroups, SeeNoCopyThatIsNotFenced) {
  expect_outcome(Mistake::kNoFence, "wrong; wrong; ");
  expect_outcome(Mistake::kFenceBeforeTheWait, "wrong; right; ");  // copies at once are there by then
}

TEST(SimtWarpgroups, SeeNoCopyThatNobodyWaitedFor) {
  expect_outcome(Mistake::kNoWaitForCopies, "wrong; right; ");
  expect_outcome(Mistake::kNoBarrier, "right; wrong; ");  // warps side by side have all copied by then
}

TEST(SimtWarpgroups, GiveNoSumsBeforeTheWait) {
  expect_outcome(Mistake::kWaitsForTheGroupBefore, "right; wrong; ");
  expect_outcome(Mistake::kNoWaitForProducts, "thread 0 ended before its products did; thread 0 ended before its products did; ");
  expect_outcome(Mistake::kNoCommit, "right; thread 0 ended before its products did; ");  // at once is at once
}

TEST(SimtWarpgroups, ReadUntilTheWait) { expect_outcome(Mistake::kOverwrites, "right; wrong; "); }

TEST(SimtWarpgroups, ReadWhereTheAddressSays) {
  expect_outcome(Mistake::kNotAligned, "a factor does not begin at a multiple of 1024 bytes; a factor does not begin at a multiple of 1024 bytes; ");
  expect_outcome(Mistake::kNotSwizzled, "wrong; wrong; ");
}

TEST(SimtWarpgroups, WantTheSumsFencedAndOneProductForAll) {
  expect_outcome(Mistake::kNoSumsFence, "a product without a fence of its sums before; a product without a fence of its sums before; ");
  expect_outcome(Mistake::kDescriptorsDiffer, "the threads of a warpgroup give different products; the threads of a warpgroup give different products; ");
}

}  // namespace
}  // namespace canvaslab::cuda
