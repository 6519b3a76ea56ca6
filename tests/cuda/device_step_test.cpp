// The GPU's kernels on a GPU against the CPU's statistics. Skipped where there is none.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include <fmt/format.h>

#include "core/kernels/cuda/device_step.h"
#include "core/row_statistics.h"

namespace canvaslab::cuda {
namespace {

/// An array on the device.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemset(data_, 0xFF, count * sizeof(T)), cudaSuccess);  // NaN
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { EXPECT_EQ(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() { return data_; }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    EXPECT_EQ(cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return out;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) GTEST_SKIP() << "left out: no CUDA device (" << cudaGetErrorString(error) << ")";
  }
};

/// Statistics of the device and of the CPU differ at most by what exp and log of f64 do, so nearly never after rounding to f32; candidates then differ where a uniform lies within that of a
/// boundary. Both are counted: one in a thousand is the bound, and the count is printed.
TEST_F(OnDevice, StatisticsAreThoseOfTheCpu) {
  constexpr int kRows = 256;
  constexpr float kTemperature = 0.8f;
  for (const int vocabulary : {1, 33, 384, 1025, 9216, 262144}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(fmt::format("vocabulary {}, seed {}", vocabulary, seed));
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> logits(static_cast<size_t>(kRows) * static_cast<size_t>(vocabulary));
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i / static_cast<size_t>(vocabulary) % 8) * normal(random);
    const DrawKey draws{.seed = seed, .item = 1, .repeat = 0, .canvas_idx = 2, .step_idx = 3};
    std::vector<StatisticsRow> requests(kRows);
    for (int r = 0; r < kRows; ++r) requests[static_cast<size_t>(r)] = {.draws = draws, .position = static_cast<uint32_t>(r), .current = 0, .inverse_temperature = 1 / static_cast<double>(kTemperature), .greedy = 0};
    RowStatistics cpu;
    const StatisticSet wanted = {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kUntempered};
    cpu.resize(kRows, wanted);
    compute_row_statistics(logits, vocabulary, 0, kRows, {.temperature = kTemperature, .wanted = wanted, .canvas = {}, .draw_key = draws}, cpu);
    DeviceArray<float> device_logits(logits), entropy(kRows), argmax_logprob(kRows), entropy_t1(kRows);
    DeviceArray<StatisticsRow> rows(requests);
    DeviceArray<int32_t> argmax(kRows), second(kRows), candidate(kRows), bad(std::vector<int32_t>{std::numeric_limits<int32_t>::max()});
    const StatisticsCall call{.logits = device_logits.get(), .rows = rows.get(), .num_rows = kRows, .vocabulary = vocabulary,
                              .out = {.argmax = argmax.get(), .argmax_logprob = argmax_logprob.get(), .second = second.get(), .entropy_nats = entropy.get(), .candidate = candidate.get(), .entropy_t1_nats = entropy_t1.get()},
                              .bad_row = bad.get()};
    ASSERT_EQ(row_statistics(call, nullptr), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(bad.values()[0], std::numeric_limits<int32_t>::max());
    EXPECT_EQ(argmax.values(), cpu.argmax);
    EXPECT_EQ(second.values(), cpu.second);
    const auto e = entropy.values(), l = argmax_logprob.values(), e1 = entropy_t1.values();
    const auto c = candidate.values();
    int different_tokens = 0, different_bits = 0;
    for (size_t r = 0; r < kRows; ++r) {
      // f64 values that differ by some 1e-15 of ln V round to the same f32 or to its neighbour, 2^-23 away at most.
      const auto bound = [](float value) { return 0x1p-23 * std::abs(static_cast<double>(value)) + 1e-13; };
      EXPECT_NEAR(e[r], cpu.entropy_nats[r], bound(cpu.entropy_nats[r])) << r;
      EXPECT_NEAR(e1[r], cpu.entropy_t1_nats[r], bound(cpu.entropy_t1_nats[r])) << r;
      EXPECT_NEAR(l[r], cpu.argmax_logprob[r], bound(cpu.argmax_logprob[r])) << r;
      different_tokens += c[r] != cpu.candidate[r];
      different_bits += e[r] != cpu.entropy_nats[r];
    }
    fmt::print("vocabulary {}: {} of {} candidates and {} entropies differ from the CPU's\n", vocabulary, different_tokens, kRows, different_bits);
    EXPECT_LE(different_tokens, kRows / 1000.0 + 1);
    DeviceArray<float> again(kRows);
    StatisticsCall repeat = call;
    repeat.out = {.entropy_nats = again.get()};
    ASSERT_EQ(row_statistics(repeat, nullptr), cudaSuccess);
    EXPECT_EQ(again.values(), e) << "the same bits again";
  }
}

TEST_F(OnDevice, AcceptanceIsThatOfASortWrittenOut) {
  constexpr int kLength = 256, kCanvases = 5, kVocabulary = 50;
  std::mt19937_64 random(7);
  std::uniform_real_distribution<float> uniform;
  std::vector<float> entropy(kLength * kCanvases);
  for (float& h : entropy) h = uniform(random) < 0.2f ? 0.0f : 0.01f * uniform(random);
  std::vector<int32_t> candidate(entropy.size(), 1), argmax(entropy.size(), 2);
  std::vector<CanvasRow> rows(kCanvases);
  for (int c = 0; c < kCanvases; ++c) rows[static_cast<size_t>(c)] = {.draws = {.seed = 3, .canvas_idx = static_cast<uint32_t>(c)}, .first = c * kLength, .length = kLength - 10 * c, .bound = 0.1f, .confidence = 1, .stability = 1};
  DeviceArray<float> h(entropy);
  DeviceArray<int32_t> k(candidate), a(argmax), canvas(std::vector<int32_t>(entropy.size(), 9)), last(argmax), equal(std::vector<int32_t>(kCanvases, 0)), stop(kCanvases);
  DeviceArray<uint8_t> accepted(entropy.size());
  DeviceArray<CanvasRow> r(rows);
  const AcceptCall call{.canvases = r.get(), .num_canvases = kCanvases, .vocabulary = kVocabulary, .entropy_nats = h.get(), .candidate = k.get(), .argmax = a.get(), .allowed = nullptr, .banned_ids = nullptr,
                        .num_banned = 0, .mask_id = -1, .canvas = canvas.get(), .accepted = accepted.get(), .last_argmax = last.get(), .equal_steps = equal.get(), .stop = stop.get()};
  ASSERT_EQ(entropy_bound_step(call, nullptr), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const auto took = accepted.values();
  const auto next = canvas.values();
  for (const CanvasRow& row : rows) {
    std::vector<int> order(static_cast<size_t>(row.length));
    std::iota(order.begin(), order.end(), row.first);
    std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return entropy[static_cast<size_t>(x)] < entropy[static_cast<size_t>(y)]; });
    double sum = 0;
    bool open = true;
    for (const int p : order) {
      const auto at = static_cast<size_t>(p);
      sum += entropy[at];
      open = open && !(static_cast<float>(sum) - entropy[at] > row.bound);
      EXPECT_EQ(took[at], open) << p;
      EXPECT_EQ(next[at], open ? 1 : static_cast<int32_t>(row.draws.below(kVocabulary, Purpose::kNoise, static_cast<uint32_t>(p - row.first)))) << p;
    }
  }
  EXPECT_EQ(stop.values(), std::vector<int32_t>(kCanvases, 1));
}

}  // namespace
}  // namespace canvaslab::cuda
