// Drawing candidates as torch.multinomial does, from torch's stream: [256, V] logits, every outcome checked against the
// plain loop first (on some rows), with the ratio to it.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "core/kernels/mt19937.h"
#include "core/torch_candidate.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

constexpr float kTemperature = 0.8f;

void torch_draw(benchmark::State& state) {
  const auto rows = static_cast<size_t>(state.range(0)), V = static_cast<size_t>(state.range(1));
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(rows * V), largest(rows);
  for (float& x : logits) x = normal(random);
  const auto row = [&](size_t r) { return std::span(logits).subspan(r * V, V); };
  for (size_t r = 0; r < rows; ++r) largest[r] = *std::max_element(row(r).begin(), row(r).end());
  const size_t checked = std::min<size_t>(rows, 8);
  TorchGenerator fast(3), plain(3);
  std::vector<int32_t> ours(checked), theirs(checked);
  const double plain_seconds = seconds_of([&] {
    for (size_t r = 0; r < checked; ++r) theirs[r] = draw_torch_candidate_plain(row(r), kTemperature, plain);
  });
  for (size_t r = 0; r < checked; ++r) ours[r] = draw_torch_candidate(row(r), kTemperature, largest[r], fast);
  if (ours != theirs) return state.SkipWithError("the tokens differ from the plain loop's");
  Times times;
  for (auto _ : state) {
    const double seconds = seconds_of([&] {
      for (size_t r = 0; r < rows; ++r) benchmark::DoNotOptimize(draw_torch_candidate(row(r), kTemperature, largest[r], fast));
    });
    times.add(seconds);
    state.SetIterationTime(seconds);
  }
  report(state, times, "ms");
  const double median = times.median();
  state.counters["GB/s"] = static_cast<double>(logits.size() * sizeof(float)) * 1e-9 / median;
  // Not one word of the stream can be left out: two for each element, made and thrown away.
  std::vector<uint32_t> block(kMtWords), words(kMtWords);
  const size_t blocks = 2 * logits.size() / kMtWords;
  for (auto& word : block) word = static_cast<uint32_t>(random());
  state.counters["words_ms"] = 1e3 * seconds_of([&] {
    for (size_t i = 0; i < blocks; ++i) {
      mt_kernels().twist(block.data());
      mt_kernels().temper(block.data(), kMtWords, words.data());
      benchmark::DoNotOptimize(words.data());
      benchmark::ClobberMemory();
    }
  });
  state.counters["plain_ratio"] = plain_seconds * static_cast<double>(rows) / static_cast<double>(checked) / median;
}
BENCHMARK(torch_draw)->Args({256, 262144})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(5);
BENCHMARK(torch_draw)->Args({64, 512})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(200);

}  // namespace
}  // namespace canvaslab
