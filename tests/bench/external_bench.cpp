// What a step costs when a Python program decides or denoises, beside the same decision made here.
//   CANVASLAB_PYTHON=python3 build/external_bench
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "core/denoiser.h"
#include "samplers/contract.h"

namespace canvaslab {
namespace {

constexpr int32_t kSteps = 48;

/// An external plug-in that runs a file of this folder; empty without Python.
std::string external(const std::string& arguments) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  const std::string file = __FILE__;
  return python ? fmt::format("external(command=\"{} '{}.py'\", {})", python, file.substr(0, file.rfind('.')), arguments) : "";
}

/// One decision an iteration on L positions of random statistics.
void decide(benchmark::State& run, const std::string& text) {
  if (text.empty()) return run.SkipWithError("CANVASLAB_PYTHON names no Python");
  const auto sampler = configure_sampler(parse_plugin(text));
  std::mt19937 engine(1);
  contract::Step step(static_cast<size_t>(run.range(0)), engine);
  step.knobs = sampler.knob_values({.step_idx = 0, .num_steps = kSteps});
  CanvasState state;
  StepDecision decision;
  int32_t i = 0;
  for (auto _ : run) {
    if (i == 0) sampler.sampler->begin(state, step.canvas.size(), kSteps);
    sampler.decide(step.view(i, kSteps), state, decision);
    i = (i + 1) % kSteps;
  }
}

/// One forward an iteration; the logits [L, V] come through the pipe.
void denoise(benchmark::State& run) {
  const std::string text = external(fmt::format("parameters=\"vocabulary={}\"", run.range(1)));
  if (text.empty()) return run.SkipWithError("CANVASLAB_PYTHON names no Python");
  const auto denoiser = denoisers().make(text);
  const auto sequence = denoiser->prefill({});
  const std::vector<int32_t> canvas(static_cast<size_t>(run.range(0)), 1);
  for (auto _ : run) {
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.canvas = canvas;
    row.request.want_logits = true;  // no statistics: the pipe alone
    benchmark::DoNotOptimize(denoiser->denoise(std::span(&row, 1)));
  }
  run.SetBytesProcessed(run.iterations() * run.range(0) * run.range(1) * 4);
}

void register_all() {
  const std::vector<std::pair<const char*, std::string>> samplers = {{"built_in/entropy_bound", "entropy_bound"},
                                                                     {"external/answers_at_once", external("parameters=\"mode=empty\"")},
                                                                     {"external/entropy_bound", external("parameters=\"mode=bound\"")}};
  for (const auto& [name, text] : samplers)
    for (const int64_t length : {32, 256}) benchmark::RegisterBenchmark(name, decide, text)->Arg(length)->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const auto& [length, vocabulary] : std::vector<std::pair<int64_t, int64_t>>{{32, 32}, {256, 4096}, {256, 262144}})
    benchmark::RegisterBenchmark("external/logits", denoise)->Args({length, vocabulary})->Unit(benchmark::kMicrosecond)->UseRealTime();
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace canvaslab
