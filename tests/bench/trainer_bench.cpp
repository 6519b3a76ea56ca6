// Training steps of the network in CANVASLAB_TRAIN_BASE (a folder with config.json), one thread.
//   CANVASLAB_TRAIN_BASE=experiments/models/base build/trainer_bench
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <ctime>

#include "core/network/caching_allocator.h"
#include "core/network/model_config.h"
#include "core/network/trainer.h"
#include "core/philox.h"

namespace canvaslab {
namespace {

/// The shapes of the shipped model's training: 16 sequences with prompts of 25 tokens, one canvas each, three noisy versions.
constexpr size_t kRows = 16, kPrompt = 25;

TrainingBatch some_batch(const ModelConfig& config, uint32_t number) {
  TrainingBatch batch;
  batch.rows = kRows;
  const DrawKey draw{.seed = 3, .item = number};
  const auto length = static_cast<size_t>(config.canvas_length);
  for (uint32_t i = 0; i < kRows * kPrompt; ++i) batch.prompts.push_back(static_cast<int32_t>(draw.below(static_cast<uint32_t>(config.vocab_size), Purpose::kPrompt, i, 0)));
  for (uint32_t i = 0; i < kRows * length; ++i) batch.answers.push_back(static_cast<int32_t>(draw.below(static_cast<uint32_t>(config.vocab_size), Purpose::kPrompt, i, 1)));
  batch.answer_lengths.assign(kRows, static_cast<int32_t>(length));
  return batch;
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void training_step(benchmark::State& state, bool fused, bool bf16) {
  const char* folder = std::getenv("CANVASLAB_TRAIN_BASE");
  if (!folder) return state.SkipWithError("CANVASLAB_TRAIN_BASE names no folder with config.json");
  keep_tensor_memory();
  TrainerOptions options;
  options.canvases_per_sequence = 3;
  options.fused = fused;
  options.bf16_products = bf16;
  Trainer trainer(folder, options);
  const auto config = ModelConfig::read(folder);
  const std::vector<TrainingBatch> batches{some_batch(config, 0), some_batch(config, 1)};
  int64_t tokens = 0;
  const double begin = cpu_seconds();
  for (auto _ : state) tokens += trainer.step(batches).tokens;
  state.counters["tokens_per_cpu_s"] = static_cast<double>(tokens) / (cpu_seconds() - begin);
}

BENCHMARK_CAPTURE(training_step, written_out_f32, false, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, written_out_bf16, false, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, fused_f32, true, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, fused_bf16, true, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace canvaslab
