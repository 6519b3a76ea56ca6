// Whole steps, forwards and prefills of the two bench models (reference_step.py make FOLDER), one thread.
//   CANVASLAB_BENCH_MODELS=FOLDER build/step_bench
#include <fcntl.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>

#include "core/model.h"
#include "core/network/cpu_network.h"
#include "core/network/model_config.h"
#include "samplers/engine.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

constexpr int32_t kSteps = 12, kPrompt = 64;

std::string folder_of(const char* model) {
  const char* folder = std::getenv("CANVASLAB_BENCH_MODELS");
  return folder ? std::string(folder) + "/" + model : std::string();
}

std::vector<int32_t> some_ids(size_t count, int32_t vocabulary) {
  std::mt19937 random(7);
  std::vector<int32_t> ids(count);
  for (auto& id : ids) id = static_cast<int32_t>(4 + random() % static_cast<uint32_t>(vocabulary - 8));
  return ids;
}

/// Two per weight and row that meet, attention's products included: `rows` tokens that see `keys` keys each through all layers.
double flops_of_layers(const ModelConfig& c, double rows, double keys) {
  const auto of = [](int64_t x) { return static_cast<double>(x); };
  double flops = 0;
  for (const auto& layer : c.layers) {
    const double heads = of(c.num_heads * layer.head_dim), kv = of(layer.num_kv_heads * layer.head_dim);
    flops += 2 * rows * of(c.hidden_size) * (2 * heads + (layer.sliding ? 2 : 1) * kv + 3 * of(c.intermediate_size + c.top_k_experts * c.moe_intermediate_size) + of(c.num_experts));
    flops += 4 * rows * keys * heads;
  }
  return flops;
}

/// A step with feedback: its embedding, the layers, the head.
double flops_of_step(const ModelConfig& c) {
  const auto L = static_cast<double>(c.canvas_length);
  return flops_of_layers(c, L, L + kPrompt) + 2 * L * static_cast<double>(c.hidden_size) * static_cast<double>(2 * c.vocab_size + 3 * c.intermediate_size);
}

/// A step as generate makes it, sampler included.
void whole_step(benchmark::State& state, const char* model, const char* dtype) {
  const std::string folder = folder_of(model);
  if (folder.empty()) return state.SkipWithError("CANVASLAB_BENCH_MODELS names no folder; see tests/bench/reference_step.py");
  const auto denoiser = open_model(folder, {.dtype = dtype});
  PlanRequest request;
  request.num_steps = kSteps;
  request.stop = "never";
  const auto plan = resolve_plan(request, *denoiser);
  const RowInput input{.prompt = {.ids = some_ids(kPrompt, denoiser->facts().vocabulary), .token_types = {}, .media = {}, .left_padding = 0}, .seed = 1, .init_canvas = {}, .pins = {}};
  Times times;
  for (auto _ : state) {
    const auto result = generate(*denoiser, plan, std::span(&input, 1)).front();
    const int32_t steps = std::accumulate(result.steps_per_canvas.begin(), result.steps_per_canvas.end(), 0);
    const double seconds = result.seconds.denoise / steps;
    times.add(seconds);
    state.SetIterationTime(seconds);
  }
  report(state, times, "ms");
  state.counters["gflops"] = flops_of_step(ModelConfig::read(folder)) * 1e-9;
}

/// The forward alone with feedback, interleaved with the tensor path; its logits are compared first.
void forward(benchmark::State& state, const char* model) {
  const std::string folder = folder_of(model);
  if (folder.empty()) return state.SkipWithError("CANVASLAB_BENCH_MODELS names no folder; see tests/bench/reference_step.py");
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  const Network network = Network::load(folder, at::kFloat, at::Device("cpu"));
  const auto V = network.config().vocab_size, L = network.config().canvas_length;
  const auto tensor_of = [](const std::vector<int32_t>& ids) { return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong); };
  const CpuNetwork packed(network);
  auto cache = packed.empty_cache(0);
  packed.encode(some_ids(kPrompt, static_cast<int32_t>(V)), {}, cache, nullptr);
  const auto canvas = some_ids(static_cast<size_t>(L), static_cast<int32_t>(V));
  const auto feedback = at::randn({L, V}) * 4;
  RopeTables tables;
  auto logits = at::empty({L, V}), soft = at::empty({L, network.config().hidden_size}), hidden = at::empty_like(soft);
  at::Tensor expected;
  const auto slow = [&] { expected = network.decode(tensor_of(canvas), cache, feedback); };
  const auto fast = [&] {
    packed.soft_embedding(feedback.const_data_ptr<float>(), L, 1, soft.mutable_data_ptr<float>());
    packed.decode(canvas, cache, soft.const_data_ptr<float>(), tables, hidden.mutable_data_ptr<float>());
    packed.head(hidden.const_data_ptr<float>(), L, logits.mutable_data_ptr<float>());
  };
  slow();
  fast();
  const double error = ((logits - expected).abs().max() / expected.abs().max()).item<double>();
  // One unit in the last place of one matrix moves the tensor path's own logits by up to 5e-5 on "small".
  if (!(error < 1.5e-4)) return state.SkipWithError(("logits differ by " + std::to_string(error) + " of the largest").c_str());
  Times ours, theirs;
  for (auto _ : state) {
    theirs.add(seconds_of(slow));
    const double seconds = seconds_of(fast);
    ours.add(seconds);
    state.SetIterationTime(seconds);
  }
  report(state, ours, "ms");
  state.counters["GFLOP/s"] = flops_of_step(network.config()) * 1e-9 / ours.median();
  state.counters["tensor_path_ratio"] = theirs.median() / ours.median();
}

void prefill(benchmark::State& state, const char* model) {
  const std::string folder = folder_of(model);
  if (folder.empty()) return state.SkipWithError("CANVASLAB_BENCH_MODELS names no folder; see tests/bench/reference_step.py");
  const auto denoiser = open_model(folder, {});
  const Prompt prompt{.ids = some_ids(512, denoiser->facts().vocabulary), .token_types = {}, .media = {}, .left_padding = 0};
  Times times;
  for (auto _ : state) {
    const double seconds = seconds_of([&] { benchmark::DoNotOptimize(denoiser->prefill(prompt)); });
    times.add(seconds);
    state.SetIterationTime(seconds);
  }
  report(state, times, "ms");
  state.counters["gflops"] = flops_of_layers(ModelConfig::read(folder), 512, 513.0 / 2) * 1e-9;  // causal: half the keys on the average
}

/// Bytes by name from /proc/self/status.
double memory(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) * 1024;
  return 0;
}

/// Drops a file's pages from the page cache.
void make_cold(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::fdatasync(file);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

/// Seconds to read a file once from beginning to end into one small buffer.
double reading(const std::string& path) {
  std::vector<char> block(size_t{4} << 20);
  return seconds_of([&] {
    std::ifstream in(path, std::ios::binary);
    in.rdbuf()->pubsetbuf(nullptr, 0);
    while (in.read(block.data(), static_cast<std::streamsize>(block.size()))) {}
  });
}

/// A checkpoint opened in its own dtype: time, and the most memory above what was there before, over the file's size. Beside
/// it, a plain read of the file from where it then lies, the page cache or (cold) the disk.
void load(benchmark::State& state, const char* model, bool cold) {
  const std::string folder = folder_of(model);
  if (folder.empty()) return state.SkipWithError("CANVASLAB_BENCH_MODELS names no folder; see tests/bench/reference_step.py");
  const std::string file = folder + "/model.safetensors";
  const auto size = static_cast<double>(std::filesystem::file_size(file));
  Times times;
  std::vector<double> peaks;
  if (cold) make_cold(file);
  else reading(file);  // into the page cache
  const double read = reading(file);
  for (auto _ : state) {
    if (cold) make_cold(file);
    std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew
    const double before = memory("VmRSS");
    std::unique_ptr<Denoiser> denoiser;
    const double seconds = seconds_of([&] { denoiser = open_model(folder, {.dtype = "bf16"}); });
    peaks.push_back((memory("VmHWM") - before) / size);
    times.add(seconds);
    state.SetIterationTime(seconds);
  }
  report(state, times, "ms");
  state.counters["read_ms"] = read * 1e3;
  state.counters["peak_over_file"] = *std::max_element(peaks.begin(), peaks.end());
}

BENCHMARK_CAPTURE(whole_step, tiny_f32, "tiny", "f32")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(whole_step, small_f32, "small", "f32")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(2);
BENCHMARK_CAPTURE(whole_step, small_bf16, "small", "bf16")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(2);
BENCHMARK_CAPTURE(forward, tiny, "tiny")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(40);
BENCHMARK_CAPTURE(forward, small, "small")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(5);
BENCHMARK_CAPTURE(prefill, tiny, "tiny")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(prefill, small, "small")->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(4);

BENCHMARK_CAPTURE(load, warm, "large", false)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(1);
BENCHMARK_CAPTURE(load, cold, "large", true)->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace canvaslab
