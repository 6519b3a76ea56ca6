// The GPU's kernels run thread by thread on the processor, against the CPU's statistics and the registered sampler: the same bits.
#include "tests/support/simt.h"

#include <gtest/gtest.h>

#include <random>

#include "core/kernels/cuda/entropy_bound.cuh"
#include "core/kernels/cuda/row_statistics.cuh"
#include "core/row_statistics.h"

namespace canvaslab::cuda {
namespace {

/// Logits [rows, vocabulary] of several sharpnesses, some tokens impossible.
std::vector<float> random_logits(int rows, int vocabulary, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  std::vector<float> out(static_cast<size_t>(rows) * static_cast<size_t>(vocabulary));
  for (int r = 0; r < rows; ++r) {
    const float sharpness = std::array{0.0f, 0.3f, 3.0f, 25.0f}[static_cast<size_t>(r) % 4], impossible = r % 3 == 2 ? 0.3f : 0.0f;
    for (int v = 0; v < vocabulary; ++v) out[static_cast<size_t>(r) * static_cast<size_t>(vocabulary) + static_cast<size_t>(v)] = v > 0 && uniform(random) < impossible ? -INFINITY : sharpness * normal(random);
  }
  return out;
}

/// A call's memory, every array poisoned.
struct Statistics {
  explicit Statistics(int rows) : requests(static_cast<size_t>(rows)) {
    for (auto* ids : {&argmax, &second, &candidate}) ids->assign(requests.size(), -77);
    for (auto* values : {&argmax_logprob, &second_logprob, &entropy, &candidate_logprob, &current_logprob, &argmax_logprob_t1, &entropy_t1}) values->assign(requests.size(), NAN);
  }
  StatisticsCall call(const std::vector<float>& logits, int vocabulary) {
    return {.logits = logits.data(), .rows = requests.data(), .num_rows = static_cast<int32_t>(requests.size()), .vocabulary = vocabulary,
            .out = {.argmax = argmax.data(), .argmax_logprob = argmax_logprob.data(), .second = second.data(), .second_logprob = second_logprob.data(), .entropy_nats = entropy.data(),
                    .candidate = candidate.data(), .candidate_logprob = candidate_logprob.data(), .current_logprob = current_logprob.data(), .argmax_logprob_t1 = argmax_logprob_t1.data(),
                    .entropy_t1_nats = entropy_t1.data()},
            .bad_row = &bad_row};
  }
  std::vector<StatisticsRow> requests;
  std::vector<int32_t> argmax, second, candidate;
  std::vector<float> argmax_logprob, second_logprob, entropy, candidate_logprob, current_logprob, argmax_logprob_t1, entropy_t1;
  int32_t bad_row = std::numeric_limits<int32_t>::max();
};

void run(const StatisticsCall& call, bool falling = false) {
  const size_t bytes = StatisticsTile::bytes((call.vocabulary + static_cast<int>(kTile) - 1) / static_cast<int>(kTile));
  simt::launch(static_cast<unsigned>(call.num_rows), StatisticsTile::kThreads, bytes, [&] { row_statistics_kernel(call); }, falling);
}

constexpr StatisticSet kWanted = {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent, Statistic::kUntempered};

/// The first difference of the bits, as text; empty when there is none.
template <typename T>
std::string difference(const char* name, const std::vector<T>& cpu, const std::vector<T>& gpu) {
  for (size_t i = 0; i < cpu.size(); ++i)
    if (std::memcmp(&cpu[i], &gpu[i], sizeof(T)) != 0) return fmt::format("{} of row {}: {} on the CPU, {} by the kernel", name, i, cpu[i], gpu[i]);
  return "";
}

std::string differences(const RowStatistics& cpu, const Statistics& gpu) {
  for (const auto& text : {difference("argmax", cpu.argmax, gpu.argmax), difference("argmax_logprob", cpu.argmax_logprob, gpu.argmax_logprob), difference("second", cpu.second, gpu.second),
                           difference("second_logprob", cpu.second_logprob, gpu.second_logprob), difference("entropy", cpu.entropy_nats, gpu.entropy), difference("candidate", cpu.candidate, gpu.candidate),
                           difference("candidate_logprob", cpu.candidate_logprob, gpu.candidate_logprob), difference("current_logprob", cpu.current_logprob, gpu.current_logprob),
                           difference("argmax_logprob_t1", cpu.argmax_logprob_t1, gpu.argmax_logprob_t1), difference("entropy_t1", cpu.entropy_t1_nats, gpu.entropy_t1)})
    if (!text.empty()) return text;
  return "";
}

struct Case {
  int vocabulary;
  float temperature;
};

class KernelStatistics : public ::testing::TestWithParam<Case> {};

TEST_P(KernelStatistics, HaveTheBitsOfTheCpu) {
  const auto [vocabulary, temperature] = GetParam();
  constexpr int kRows = 12;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const auto logits = random_logits(kRows, vocabulary, seed);
  std::vector<int32_t> canvas(kRows);
  Statistics gpu(kRows);
  const DrawKey draws{.seed = seed, .item = 5, .repeat = 2, .canvas_idx = 3, .step_idx = 7};
  for (int r = 0; r < kRows; ++r) {
    canvas[static_cast<size_t>(r)] = (r * 7919) % vocabulary;
    gpu.requests[static_cast<size_t>(r)] = {.draws = draws, .position = static_cast<uint32_t>(r), .current = canvas[static_cast<size_t>(r)],
                                            .inverse_temperature = temperature == 0 ? 1.0 : 1.0 / static_cast<double>(temperature), .greedy = temperature == 0};
  }
  RowStatistics cpu;
  cpu.resize(kRows, kWanted);
  compute_row_statistics(logits, vocabulary, 0, kRows, {.temperature = temperature, .wanted = kWanted, .canvas = canvas, .draw_key = draws}, cpu);
  Statistics fresh = gpu;
  for (const bool falling : {false, true}) {
    fresh = gpu;
    run(fresh.call(logits, vocabulary), falling);
    EXPECT_EQ(fresh.bad_row, std::numeric_limits<int32_t>::max());
    EXPECT_EQ(differences(cpu, fresh), "") << (falling ? "threads in falling order" : "threads in rising order");
  }
  cpu.entropy_nats[kRows / 2] = std::nextafter(cpu.entropy_nats[kRows / 2], 99.0f);
  EXPECT_NE(differences(cpu, fresh), "") << "the comparison sees a wrong answer";
}

INSTANTIATE_TEST_SUITE_P(Shapes, KernelStatistics,
                         ::testing::Values(Case{1, 1}, Case{2, 1}, Case{31, 0.7f}, Case{32, 1}, Case{33, 0}, Case{384, 0.8f}, Case{1023, 1}, Case{1024, 0.5f}, Case{1025, 1}, Case{5000, 0.41f},
                                           Case{9216, 0}, Case{20001, 0.8f}),
                         [](const auto& shape) { return fmt::format("V{}_T{}", shape.param.vocabulary, static_cast<int>(shape.param.temperature * 100)); });

TEST(KernelStatisticsErrors, NameTheFirstRowThatIsNoDistribution) {
  constexpr int kVocabulary = 1500;
  const auto sound = random_logits(6, kVocabulary, 1);
  for (const float wrong : {NAN, INFINITY, -INFINITY}) {
    auto logits = sound;
    if (wrong == -INFINITY) std::fill(logits.begin() + 3 * kVocabulary, logits.begin() + 4 * kVocabulary, wrong);
    else logits[3 * kVocabulary + 1400] = logits[5 * kVocabulary] = wrong;
    Statistics gpu(6);
    run(gpu.call(logits, kVocabulary));
    EXPECT_EQ(gpu.bad_row, 3) << wrong;
    EXPECT_EQ(gpu.argmax[3], -77) << "nothing is written of it";
    EXPECT_GE(gpu.argmax[4], 0);
  }
}

TEST(KernelStatisticsErrors, WantNothingWriteNothing) {
  const auto logits = random_logits(2, 100, 1);
  Statistics gpu(2);
  StatisticsCall call = gpu.call(logits, 100);
  call.out = {.entropy_nats = gpu.entropy.data()};
  run(call);
  EXPECT_EQ(gpu.candidate[0], -77);
  EXPECT_FALSE(std::isnan(gpu.entropy[1]));
}

TEST(Simt, SeesKernelsThatHang) {
  EXPECT_THROW(simt::launch(1, 64, 0, [] { wait_for_earlier_kernels(); let_later_kernels_begin(); if (threadIdx.x < 40) __syncthreads(); else __ballot_sync(kWholeWarp, true); }), std::logic_error);
}

TEST(Simt, FillsSharedMemoryWithNan) {
  double seen = 0;
  simt::launch(1, 32, 8, [&] { wait_for_earlier_kernels(); let_later_kernels_begin(); CANVASLAB_DYNAMIC_SHARED(memory); if (threadIdx.x == 0) seen = memory[0]; });
  EXPECT_TRUE(std::isnan(seen));
}

TEST(Simt, ExchangesWithinAWarp) {
  std::vector<int> got(64);
  simt::launch(1, 64, 0, [&] { wait_for_earlier_kernels(); let_later_kernels_begin(); got[threadIdx.x] = __shfl_xor_sync(kWholeWarp, static_cast<int>(threadIdx.x) * 10, 1); });
  for (int i = 0; i < 64; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], (i ^ 1) * 10);
}

}  // namespace
}  // namespace canvaslab::cuda
