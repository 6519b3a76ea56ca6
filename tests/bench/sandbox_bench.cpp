// Graded small programs per second on two threads, each in fresh sandboxes and none from the cache; and what the sandbox alone costs.
// cpu_ms is the computing time of one with all that it starts: on a busy machine the number to look at (2000 / cpu_ms a second on
// two processors of one's own).
//   cmake -DCANVASLAB_BENCH=ON build && ninja -C build sandbox_bench && build/sandbox_bench
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <stdexcept>

#include "eval/sandbox/contest.h"
#include "eval/sandbox/unit_tests.h"

namespace canvaslab {
namespace {

void count(benchmark::State& state, double cpu_seconds) {
  state.counters["cpu_ms"] = benchmark::Counter(1e3 * cpu_seconds / static_cast<double>(state.iterations()), benchmark::Counter::kAvgThreads);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

/// Refuses to time what gives a wrong verdict.
double cpu_of(const ProgramVerdict& verdict) {
  if (!verdict.passed()) throw std::logic_error("a right program failed: " + verdict.detail);
  return verdict.cpu_seconds;
}

void EmptyProgram(benchmark::State& state) {
  const auto isolation = find_isolation();
  double cpu = 0;
  for (auto unused : state)
    cpu += run_in_sandbox(isolation, {.arguments = {"-c", "print(1)"}}).cpu_seconds;
  count(state, cpu);
}

void UnitTested(benchmark::State& state) {
  const auto isolation = find_isolation();
  const UnitTests tests{.prompt = "def f(x):\n    \"\"\"Twice.\"\"\"\n", .tests = "def check(candidate):\n    for x in range(20): assert candidate(x) == 2 * x\n", .entry = "f"};
  double cpu = 0;
  for (auto unused : state)
    cpu += cpu_of(judge_unit_tests(isolation, "def f(x): return 2 * x\n", tests));
  count(state, cpu);
}

template <ContestGrader grader>
void Contest(benchmark::State& state) {
  const auto isolation = find_isolation();
  ProgramTests tests;
  for (int i = 0; i < state.range(0); ++i) tests.cases.push_back({fmt::format("{} 2\n", i), std::to_string(i + 2)});
  double cpu = 0;
  for (auto unused : state)
    cpu += cpu_of(judge_contest(isolation, "a, b = map(int, input().split())\nprint(a + b)\n", tests, grader));
  count(state, cpu);
}

BENCHMARK(EmptyProgram)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(UnitTested)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Contest<ContestGrader::kCompat>)->Arg(1)->Arg(20)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Contest<ContestGrader::kStrict>)->Arg(1)->Arg(20)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace canvaslab
