// Speed of reading LiveCodeBench's file: rows as the data set loads them, and with all tests decoded. peak_MB is this process's most so far.
//   CANVASLAB_LCB_FILE=test6.jsonl build/data_rows_bench
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>

#include "core/file_digest.h"
#include "eval/rows.h"
#include "eval/test_cases.h"

namespace canvaslab {
namespace {

template <typename Read>
void run(benchmark::State& state, Read read) {
  const char* file = std::getenv("CANVASLAB_LCB_FILE");
  if (!file) return state.SkipWithError("CANVASLAB_LCB_FILE names no file");
  for (auto unused : state) read(file);
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_MB"] = static_cast<double>(usage.ru_maxrss) / 1024;
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(std::filesystem::file_size(file)));
}

void Hash(benchmark::State& state) {
  run(state, [](const char* file) { benchmark::DoNotOptimize(file_sha256(file)); });
}
void Rows(benchmark::State& state) {
  run(state, [](const char* file) { read_rows(file, [](const DataRow& row) { benchmark::DoNotOptimize(row.fields.size()); }); });
}
void RowsWithTests(benchmark::State& state) {
  run(state, [](const char* file) { read_rows(file, [](const DataRow& row) { benchmark::DoNotOptimize(program_tests_of(row).cases.size()); }); });
}

BENCHMARK(Hash)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK(Rows)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK(RowsWithTests)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();

}  // namespace
}  // namespace canvaslab
