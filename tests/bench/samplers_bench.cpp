// What a decision costs: every sampler with its default stop rule on 256 positions of random statistics, and every stop
// rule alone. Statistics are given: the forward and the fused pass are not in these figures.
#include <benchmark/benchmark.h>

#include "samplers/stop_rule.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

constexpr size_t kLength = 256;
constexpr int32_t kSteps = 48;

/// One decision and one stop check per iteration, through whole canvases, so that locking samplers meet every fill.
void decide_and_check(benchmark::State& run, const std::string& text) {
  const auto sampler = configure_sampler(parse_plugin(text));
  const auto stop = configure_stop(parse_plugin(sampler.facts.default_stop));
  std::mt19937 engine(1);
  testing_support::Step step(kLength, engine);
  step.vocabulary = 262144;
  const StopHistory history{.argmax = std::vector<std::vector<int32_t>>(8, step.statistics.argmax)};
  std::vector<std::vector<double>> knobs;
  for (int32_t i = 0; i < kSteps; ++i) knobs.push_back(sampler.knob_values({.step_idx = i, .num_steps = kSteps}));
  CanvasState state;
  StepDecision decision;
  int32_t i = 0;
  for (auto _ : run) {
    if (i == 0) sampler.sampler->begin(state, kLength, kSteps);
    step.draws.step_idx = static_cast<uint32_t>(i);
    StepView view = step.view(i, kSteps);
    view.knobs = knobs[static_cast<size_t>(i)];
    sampler.decide(view, state, decision);
    benchmark::DoNotOptimize(stop.rule->check(view, state, decision, history));
    i = (i + 1) % kSteps;
  }
}

void check_alone(benchmark::State& run, const std::string& text) {
  const auto stop = configure_stop(parse_plugin(text));
  std::mt19937 engine(1);
  const testing_support::Step step(kLength, engine);
  const StopHistory history{.argmax = std::vector<std::vector<int32_t>>(kSteps, step.statistics.argmax)};
  const CanvasState state{.revealed = std::vector<uint8_t>(kLength, 1), .scratch = {}};
  StepDecision decision;
  decision.action.assign(kLength, Action::kCandidate);
  for (auto _ : run) benchmark::DoNotOptimize(stop.rule->check(step.view(7, kSteps), state, decision, history));
}

void register_all() {
  for (const auto& entry : samplers().entries())
    if (contract::has_defaults(entry)) benchmark::RegisterBenchmark(("sampler/" + entry.name).c_str(), decide_and_check, entry.name)->Unit(benchmark::kMicrosecond);
  for (const char* text : {"spacing(entropy_bound(inf), distance=16)", "quota(margin, budget=ratio, choice_temperature=1)", "remdm(confidence=on)"})
    benchmark::RegisterBenchmark(fmt::format("sampler/{}", text).c_str(), decide_and_check, text)->Unit(benchmark::kMicrosecond);
  for (const auto& entry : stop_rules().entries())
    if (contract::has_defaults(entry))
      benchmark::RegisterBenchmark(("stop/" + entry.name).c_str(), check_alone, entry.name)->Unit(benchmark::kMicrosecond);
}

}  // namespace

void run_sampler_benchmarks(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace canvaslab

// Not at static initialisation, when the registries are still filling.
int main(int argc, char** argv) { canvaslab::run_sampler_benchmarks(argc, argv); }
