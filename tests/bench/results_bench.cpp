// A journal of a million samples: writing, scanning, turning into HDF5; and what bookkeeping costs beside the work itself.
// Samples are made up, but of the shape and size that the default experiment leaves; CANVASLAB_BENCH_SAMPLES sets their number.
//   build/results_bench        in the root of the tree: it reads experiments/exact_source.toml
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "eval/results.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;

size_t sample_count() {
  const char* asked = std::getenv("CANVASLAB_BENCH_SAMPLES");
  return asked ? static_cast<size_t>(std::stoull(asked)) : 1'000'000;
}

double peak_megabytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024e-6;
}

PreparedSweep prepare(const std::string& folder, const std::string& plan) {
  std::ofstream(folder + "/plan.toml") << plan;
  return prepare_sweep(read_sweep(folder + "/plan.toml", {}), {});
}

/// Four samplers and the control, `items` each.
PreparedSweep many_samples(const std::string& folder, size_t count) {
  return prepare(folder, fmt::format("[denoiser]\nmodel = \"hmm(states=16, alphabet=32, sharpness=2)\"\n[dataset]\nname = \"source(items={})\"\n"
                                     "[grid]\nsampler = [\"entropy_bound(0.1)\", \"confidence_threshold(0.9)\", \"fixed_step\", \"ddim\"]\nsteps = 8\ncanvas_length = 32\n",
                                     std::max<size_t>(1, count / 5)));
}

SampleRecord made_up(const PreparedSweep& sweep, const SweepTask& task, std::mt19937_64& random) {
  SampleRecord s;
  s.config_idx = task.config, s.item_idx = task.item, s.repeat = task.repeat, s.seed = sweep.plan.seed_of(task.repeat), s.content_key = task.key;
  s.token_ids.resize(32);
  for (auto& id : s.token_ids) id = static_cast<int32_t>(random() % 32);
  s.canvas_ids = s.token_ids;
  s.score = -std::ldexp(static_cast<double>(random() >> 11), -50);
  s.metrics.assign(sweep.dataset->score_facts().metrics.size(), 0.5);
  s.stop_reason = "control";
  if (sweep.plan.configs[task.config].control) return s;
  s.stop_reason = "length", s.canvas_stop = {"step_limit"}, s.steps_per_canvas = {8}, s.valid_per_canvas = {32};
  for (int k = 0; k < 8; ++k) s.steps.push_back({0.8f, 1.5f, 2.5f, static_cast<int32_t>(random() % 33), static_cast<int32_t>(random() % 33)});
  s.forwards.denoise = 8, s.seconds.denoise = 1e-4, s.tokens_per_forward = s.tokens_per_forward_report = 4;
  return s;
}

/// The folder with its journal is made once and goes away at the end.
class Run {
 public:
  Run() : folder_((fs::temp_directory_path() / fmt::format("canvaslab-bench-{}", ::getpid())).string()), sweep_((fs::create_directories(folder_), many_samples(folder_, sample_count()))) {
    JournalWriter journal(path(), sweep_.header + "shard 1/1\n", sweep_.plan.name);
    std::mt19937_64 random(1);
    for (const auto& task : shard_tasks(sweep_, 1, 1)) journal.append(made_up(sweep_, task, random));
  }
  ~Run() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  std::string path() const { return folder_ + "/run.journal"; }
  const std::string& folder() const { return folder_; }
  const PreparedSweep& sweep() const { return sweep_; }
  static const Run& get() {
    static const Run run;
    return run;
  }

 private:
  std::string folder_;
  PreparedSweep sweep_;
};

void scan(benchmark::State& state) {
  const Run& run = Run::get();
  for (auto _ : state) benchmark::DoNotOptimize(scan_journal(run.path(), [](FrameType, std::string_view) {}).valid_bytes);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * fs::file_size(run.path())));
}

void scan_and_decode(benchmark::State& state) {
  const Run& run = Run::get();
  for (auto _ : state) {
    double sum = 0;
    scan_journal(run.path(), [&](FrameType type, std::string_view payload) {
      if (type == FrameType::kSample) sum += decode_sample(payload).score;
    });
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * fs::file_size(run.path())));
}

/// A finished run started again without its results file: the journal is read, the file written and checked.
void journal_to_results(benchmark::State& state) {
  const Run& run = Run::get();
  for (auto _ : state) {
    fs::remove(run.folder() + "/run.h5");
    SweepOptions options;
    options.out_dir = run.folder();
    const SweepOutcome outcome = run_sweep(run.sweep(), options);
    if (!outcome.wrote_results || outcome.ran != 0) state.SkipWithError("the journal was not taken as complete");
  }
  state.counters["samples"] = static_cast<double>(run.sweep().num_samples());
  state.counters["journal_MB"] = static_cast<double>(fs::file_size(run.path())) * 1e-6;
  state.counters["peak_MB"] = peak_megabytes();
}

/// Samples of the default experiment in a random order: making them (0), and alone what is kept of them (1): journal, progress,
/// the list of what is done. The second over both is the share of bookkeeping.
void default_sweep(benchmark::State& state) {
  const std::string folder = (fs::temp_directory_path() / fmt::format("canvaslab-bench-default-{}", ::getpid())).string();
  fs::create_directories(folder);
  {
    std::ifstream in("experiments/exact_source.toml");
    const PreparedSweep sweep = prepare(folder, std::string(std::istreambuf_iterator<char>(in), {}));
    auto tasks = shard_tasks(sweep, 1, 1);
    std::mt19937_64 random(1);
    std::shuffle(tasks.begin(), tasks.end(), random);
    std::vector<SampleRecord> made;
    for (size_t i = 0; i < (state.range(0) ? 500 : 0); ++i) made.push_back(run_tasks(sweep, std::span(&tasks[i], 1)).front());
    JournalWriter journal(folder + "/run.journal", sweep.header, sweep.plan.name);
    ProgressMeter meter(sweep);
    std::map<uint32_t, size_t> planned;
    for (const auto& task : tasks) ++planned[task.config];
    meter.expect(planned);
    std::vector<SampleRef> refs;
    size_t i = 0;
    for (auto _ : state) {
      if (state.range(0) == 0) {
        benchmark::DoNotOptimize(run_tasks(sweep, std::span(&tasks[i++ % tasks.size()], 1)));
        continue;
      }
      const SampleRecord& sample = made[i++ % made.size()];
      refs.push_back(journal.append(sample));
      meter.add_run(sample);
    }
  }
  fs::remove_all(folder);
}

BENCHMARK(scan)->Unit(benchmark::kMillisecond);
BENCHMARK(scan_and_decode)->Unit(benchmark::kMillisecond);
BENCHMARK(journal_to_results)->Unit(benchmark::kMillisecond)->Iterations(1);
BENCHMARK(default_sweep)->ArgName("bookkeeping")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace canvaslab
