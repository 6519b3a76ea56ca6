// How near the fused row statistics come to a plain read of the same logits. Bytes are those of the logits, read once.
//   cmake -DCANVASLAB_BENCH=ON ... && build/row_statistics_bench
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>

#include <fmt/format.h>

#include "core/row_statistics.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

constexpr float kTemperature = 0.8f;

std::vector<float> random_logits(size_t rows, size_t vocabulary) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> out(rows * vocabulary);
  for (float& x : out) x = normal(random);
  return out;
}

/// Entropy and argmax by two plain f64 passes; throws when the fused pass differs by more than its header promises.
void check_against_plain_loop(const std::vector<float>& logits, size_t vocabulary, const RowStatistics& got) {
  for (size_t row = 0; row < got.argmax.size(); ++row) {
    const float* x = logits.data() + row * vocabulary;
    const size_t best = static_cast<size_t>(std::max_element(x, x + vocabulary) - x);
    double sum = 0, weighted = 0;
    for (size_t v = 0; v < vocabulary; ++v) {
      const double z = (static_cast<double>(x[v]) - static_cast<double>(x[best])) / static_cast<double>(kTemperature);
      sum += std::exp(z);
      weighted += z * std::exp(z);
    }
    const double entropy = std::log(sum) - weighted / sum;
    if (static_cast<size_t>(got.argmax[row]) != best || std::abs(static_cast<double>(got.entropy_nats[row]) - entropy) > 1e-5 * (1 + entropy))
      throw std::runtime_error(fmt::format("row {}: argmax {} and entropy {}; the plain loop gives {} and {}", row, got.argmax[row], got.entropy_nats[row], best, entropy));
  }
}

/// GB/s of summing the array with 16 independent partial sums: the yardstick on this machine, best of five.
double plain_read_speed(const std::vector<float>& data) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    size_t passes = 0;
    double seconds = 0;
    while (seconds < 0.05) {
      float sum[16] = {};
      for (size_t i = 0; i + 16 <= data.size(); i += 16)
        for (size_t k = 0; k < 16; ++k) sum[k] += data[i + k];
      benchmark::DoNotOptimize(std::accumulate(sum, sum + 16, 0.0f));
      ++passes;
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    best = std::max(best, static_cast<double>(passes * data.size() * sizeof(float)) * 1e-9 / seconds);
  }
  return best;
}

void row_statistics(benchmark::State& state, StatisticSet wanted) {
  const auto rows = static_cast<size_t>(state.range(0)), vocabulary = static_cast<size_t>(state.range(1));
  const auto logits = random_logits(rows, vocabulary);
  const std::vector<int32_t> canvas(rows, 0);
  const StatisticsRequest request{.temperature = kTemperature, .wanted = wanted, .canvas = canvas, .draw_key = DrawKey{}};
  RowStatistics out;
  out.resize(rows, wanted);
  compute_row_statistics(logits, static_cast<int32_t>(vocabulary), 0, rows, request, out);
  try {
    check_against_plain_loop(logits, vocabulary, out);
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
    return;
  }
  const double yardstick = plain_read_speed(logits);
  // The same quantities by LibTorch's operations, as the reference's sampler takes them: log-probabilities, entropy, argmax, a draw.
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  const at::Tensor tensor = at::from_blob(const_cast<float*>(logits.data()), {static_cast<int64_t>(rows), static_cast<int64_t>(vocabulary)}, at::kFloat);
  Times times, other;
  const auto by_libtorch = [&] {
    const auto log_probability = at::log_softmax(tensor / kTemperature, -1), probability = log_probability.exp();
    benchmark::DoNotOptimize((probability * log_probability).sum(-1));
    benchmark::DoNotOptimize(log_probability.max(-1));
    if (wanted.has(Statistic::kCandidate)) benchmark::DoNotOptimize(at::multinomial(probability, 1));
  };
  by_libtorch();
  for (int i = 0; i < (rows > 100 ? 1 : 20); ++i) other.add(seconds_of(by_libtorch));
  for (auto _ : state) {
    times.add(seconds_of([&] {
      compute_row_statistics(logits, static_cast<int32_t>(vocabulary), 0, rows, request, out);
      benchmark::DoNotOptimize(out);
    }));
  }
  const double speed = static_cast<double>(logits.size() * sizeof(float)) * 1e-9 / times.median();
  report(state, times, "ms");
  state.counters["libtorch_ratio"] = other.median() / times.median();
  state.counters["GB/s"] = speed;
  state.counters["read_GB/s"] = yardstick;
  state.counters["read_ms"] = static_cast<double>(logits.size() * sizeof(float)) * 1e-6 / yardstick;
  state.counters["share"] = speed / yardstick;
}

void shapes(benchmark::internal::Benchmark* b) { b->Args({256, 262144})->Args({64, 512})->Unit(benchmark::kMillisecond); }
BENCHMARK_CAPTURE(row_statistics, max_entropy, StatisticSet{Statistic::kMax, Statistic::kEntropy})->Apply(shapes);
BENCHMARK_CAPTURE(row_statistics, max_entropy_candidate, StatisticSet{Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate})->Apply(shapes);
BENCHMARK_CAPTURE(row_statistics, all, StatisticSet::all())->Apply(shapes);

}  // namespace
}  // namespace canvaslab
