// What inference on the CPU asks of the allocator: nothing in a step's arithmetic, and memory linear in the prompt.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/model.h"
#include "core/network/cpu_network.h"
#include "tests/network/parity.h"

// Every request of this program passes here: new, torch and the C library alike (glibc's own names are the way on).
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define CANVASLAB_COUNTS_MEMORY 1
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}

namespace {
/// Of one thread, while it counts.
struct Count {
  bool on = false;
  size_t requests = 0, asked = 0;
  long live = 0, peak = 0;
};
thread_local Count count;

void* taken(void* p) {
  if (count.on && p) {
    ++count.requests;
    const auto size = static_cast<long>(malloc_usable_size(p));
    count.asked += static_cast<size_t>(size);
    count.live += size;
    count.peak = std::max(count.peak, count.live);
  }
  return p;
}
void given(void* p) {
  if (count.on && p) count.live -= static_cast<long>(malloc_usable_size(p));
}
}  // namespace

extern "C" {
void* malloc(size_t size) { return taken(__libc_malloc(size)); }
void* calloc(size_t n, size_t size) { return taken(__libc_calloc(n, size)); }
void* realloc(void* p, size_t size) {
  given(p);
  return taken(__libc_realloc(p, size));
}
void* memalign(size_t unit, size_t size) { return taken(__libc_memalign(unit, size)); }
void* aligned_alloc(size_t unit, size_t size) { return taken(__libc_memalign(unit, size)); }
int posix_memalign(void** out, size_t unit, size_t size) {
  *out = taken(__libc_memalign(unit, size));
  return *out ? 0 : ENOMEM;
}
void free(void* p) {
  given(p);
  __libc_free(p);
}
}
#else
#define CANVASLAB_COUNTS_MEMORY 0
#endif

namespace canvaslab {
namespace {

using parity::kGoldens;

#if CANVASLAB_COUNTS_MEMORY

template <typename Run>
Count counted(Run run) {
  count = {.on = true};
  run();
  count.on = false;
  return count;
}

std::vector<int32_t> some_ids(size_t n, int32_t vocabulary) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = 4 + static_cast<int32_t>((i * 7 + i / 5) % static_cast<size_t>(vocabulary - 8));
  return ids;
}

TEST(CpuMemory, TheCounterSeesVectorsAndTensors) {
  const auto use = [] {
    std::vector<double> x(1000, 1.0);
    const auto t = at::empty({5000}, at::kFloat);
    ASSERT_EQ(x[7], 1.0);
    ASSERT_TRUE(t.defined());
  };
  use();  // what torch sets up once
  const auto seen = counted(use);
  EXPECT_GE(seen.requests, 2u);
  EXPECT_GE(seen.peak, 28000);
  EXPECT_EQ(seen.live, 0);
}

/// After a first step of its shape, forward, head and soft embedding ask for nothing, and touch no page for the first time.
TEST(CpuMemory, AStepsArithmeticAllocatesNothing) {
  const c10::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const CpuNetwork network(Network::load(kGoldens + "experts", dtype, at::Device("cpu")));
    const auto V = static_cast<int32_t>(network.config().vocab_size);
    const size_t L = 32, D = static_cast<size_t>(network.config().hidden_size);
    auto cache = network.empty_cache(0);
    network.encode(some_ids(70, V), {}, cache, nullptr);
    const auto canvas = some_ids(L, V);
    std::vector<float> soft(L * D), hidden(L * D), logits(L * static_cast<size_t>(V));
    RopeTables tables;
    const auto step = [&] {
      network.decode(canvas, cache, soft.data(), tables, hidden.data());
      network.head(hidden.data(), static_cast<int64_t>(L), logits.data());
      network.soft_embedding(logits.data(), static_cast<int64_t>(L), 0.8f, soft.data());
    };
    step();
    step();
    rusage before{}, after{};
    ::getrusage(RUSAGE_THREAD, &before);
    const auto seen = counted([&] {
      for (int i = 0; i < 50; ++i) step();
    });
    ::getrusage(RUSAGE_THREAD, &after);
    EXPECT_EQ(seen.requests, 0u);
    EXPECT_LT(after.ru_minflt - before.ru_minflt, 50) << "less than one page a step";
  }
}

/// A whole step asks for its result's vectors and a little more: a number that does not grow with canvas or vocabulary.
TEST(CpuMemory, AStepAsksForItsResultOnly) {
  const auto denoiser = open_model(kGoldens + "base", {});
  const auto V = denoiser->facts().vocabulary;
  const auto sequence = denoiser->prefill({.ids = some_ids(20, V), .token_types = {}, .media = {}, .left_padding = 0});
  for (const size_t L : {16u, 200u}) {
    const auto canvas = some_ids(L, V);
    const StatisticSet wanted{Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate};
    size_t result_bytes = 0;
    const auto step = [&](int32_t index) {
      DenoiseRow row{.sequence = sequence.get(), .request = {}};
      row.request.step_idx = index;
      row.request.canvas = canvas;
      row.request.temperature = 0.8f;
      row.request.wanted = wanted;
      row.request.draw_key = DrawKey{};
      const auto results = denoiser->denoise(std::span(&row, 1));
      const auto& s = results.front().statistics;
      result_bytes = 4 * (s.argmax.size() + s.argmax_logprob.size() + s.entropy_nats.size() + s.candidate.size() + s.candidate_logprob.size());
    };
    step(0);
    step(1);
    const auto seen = counted([&] { step(2); });
    EXPECT_LE(seen.requests, 16u) << "canvas " << L;
    EXPECT_LE(seen.asked, result_bytes + 4096) << "canvas " << L;
  }
}

/// Twice the prompt, twice the memory: nothing is squared, and beside keys and values nothing grows.
TEST(CpuMemory, APromptsMemoryIsLinearInItsLength) {
  const c10::NoGradGuard no_grad;
  const CpuNetwork network(Network::load(kGoldens + "base", at::kFloat, at::Device("cpu")));
  const auto V = static_cast<int32_t>(network.config().vocab_size);
  const auto cost = [&](size_t P) {
    const auto ids = some_ids(P, V);
    auto cache = network.empty_cache(0);
    const auto seen = counted([&] { network.encode(ids, {}, cache, nullptr); });
    long kept = 0;
    for (const auto& layer : cache.layers) kept += static_cast<long>(layer.k.nbytes() + layer.v.nbytes());
    return std::pair{seen.peak, kept};
  };
  cost(1500);
  const auto [peak, kept] = cost(3000);
  const auto [double_peak, double_kept] = cost(6000);
  EXPECT_LT(double_peak, 2.1 * static_cast<double>(peak));
  EXPECT_LT(double_kept, 2.1 * static_cast<double>(kept));
  EXPECT_LT(double_peak - double_kept, 1 << 20) << "beside the cache: windows, tables, lists";
}

#endif

}  // namespace
}  // namespace canvaslab
