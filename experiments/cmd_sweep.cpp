// canvaslab sweep: the main job; resumes by itself.
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>

#include "core/error.h"
#include "eval/sweep.h"
#include "experiments/commands.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

std::atomic<int> interrupts{0};

void on_signal(int) {
  if (interrupts.fetch_add(1) > 0) std::_Exit(static_cast<int>(ExitCode::kInterrupted));  // a second one leaves at once; the journal stays whole
}

struct Arguments {
  std::string config, out, shard;
  std::vector<std::string> set;
  int threads = 0, batch = 1;
  int64_t limit = 0;
  bool dry_run = false, quiet = false;
};

void read_shard(const std::string& text, SweepOptions& options) {
  if (text.empty()) return;
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw usage_error("--shard {}: expected I/N, for example 1/8", text);
  const int64_t i = parse_integer(text.substr(0, slash), "--shard"), n = parse_integer(text.substr(slash + 1), "--shard");
  if (n < 1 || i < 1 || i > n || n > 1000000) throw usage_error("--shard {}: expected 1 <= I <= N <= 1000000", text);
  options.shard = static_cast<uint32_t>(i);
  options.num_shards = static_cast<uint32_t>(n);
}

/// Progress on stderr: one line redrawn on a terminal, a plain line every ten seconds elsewhere.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(bool quiet) : tty_(::isatty(2) && !std::getenv("NO_COLOR") && std::string(std::getenv("TERM") ? std::getenv("TERM") : "dumb") != "dumb"), quiet_(quiet) {}
  void show(const ProgressMeter& meter) {
    const auto now = std::chrono::steady_clock::now();
    const bool due = now - shown_ >= (tty_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000));
    if (quiet_ || (!due && !meter.finished())) return;
    shown_ = now;
    fmt::print(stderr, "{}{}{}", tty_ ? "\r\033[K" : "", meter.text(), tty_ ? "" : "\n");
    open_line_ = tty_;
    std::fflush(stderr);
  }
  /// Ends a redrawn line, so that other text begins on its own.
  void end_line() {
    if (open_line_) fmt::print(stderr, "\n");
    open_line_ = false;
  }

 private:
  bool tty_, quiet_, open_line_ = false;
  std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

/// The plan on stdout: configurations, items, the most forwards it can take. Nothing is run or written.
void print_plan(const PreparedSweep& sweep, const SweepOptions& options) {
  const auto tasks = shard_tasks(sweep, options.shard, options.num_shards);
  std::vector<size_t> samples(sweep.plan.configs.size());
  for (const auto& task : tasks) ++samples[task.config];
  double total = 0;
  fmt::print("denoiser  {}\ndata set  {}\n", sweep.plan.denoiser, sweep.plan.dataset);
  fmt::print("\n{:>4}  {:>8}  {:>12}  settings\n", "", "samples", "forwards <=");
  for (size_t c = 0; c < samples.size(); ++c) {
    const auto& plan = sweep.generation[c];
    // Denoising steps up to the limit, one append between canvases.
    const double each = sweep.plan.configs[c].control ? 0 : static_cast<double>(plan.num_steps) * plan.num_canvases() + plan.num_canvases() - 1;
    const double most = each * static_cast<double>(samples[c]);
    total += most;
    fmt::print("{:4}  {:8}  {:12.0f}  {}\n", c, samples[c], most, sweep.settings_text[c]);
  }
  size_t shortest = SIZE_MAX, longest = 0;
  for (const auto& example : sweep.examples) {
    shortest = std::min(shortest, example.prompt_ids.size());
    longest = std::max(longest, example.prompt_ids.size());
  }
  if (sweep.plan.subset) fmt::print("\nsubset: {} items drawn by category with seed {}", *sweep.plan.subset, sweep.plan.subset_seed);
  fmt::print("\n{} items ({} to {}), prompts of {} to {} tokens\n", sweep.examples.size(), sweep.examples.front().id, sweep.examples.back().id, shortest, longest);
  fmt::print("{} configurations x {} items x {} seeds x {} repeats = {} samples", samples.size(), sweep.examples.size(), sweep.plan.seeds.size(), sweep.plan.repeats, sweep.num_samples());
  if (options.num_shards > 1) fmt::print("; {} of them in shard {}/{}", tasks.size(), options.shard, options.num_shards);
  fmt::print("\nat most {:.0f} forwards of the denoiser, into {}\n", total, options.out_dir);
}

ExitCode report(const SweepOutcome& outcome) {
  if (outcome.interrupted) {
    fmt::print(stderr, "interrupted: {} of {} samples are done and kept; start the same command again to go on\n", outcome.already_done + outcome.ran - outcome.failed, outcome.total);
    return ExitCode::kInterrupted;
  }
  if (outcome.ran == 0 && !outcome.wrote_results) fmt::print(stderr, "nothing to do: all {} samples are in {}\n", outcome.total, outcome.results_path);
  else if (outcome.ran == 0) fmt::print(stderr, "all {} samples were done; wrote {}\n", outcome.total, outcome.results_path);
  else fmt::print(stderr, "finished: {} samples run, {} found done, {} failed; results in {}\n", outcome.ran, outcome.already_done, outcome.failed, outcome.results_path);
  if (outcome.failed == 0) return ExitCode::kDone;
  fmt::print(stderr, "{} samples failed; the same command tries them again\n", outcome.failed);
  return ExitCode::kSomeFailed;
}

ExitCode run(const Arguments& a) {
  SweepOptions options;
  read_shard(a.shard, options);
  SweepPlan plan = read_sweep(a.config, a.set);
  if (a.limit > 0) plan.limit = a.limit;
  const PromptEncoder encode = prompt_encoder(plan.denoiser);
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  options.out_dir = a.out.empty() ? "results/runs/" + sweep.plan.name : a.out;
  options.threads = a.threads;
  options.batch = a.batch;
  options.command_line = command_line();
  options.interrupt = &interrupts;
  if (a.dry_run) return print_plan(sweep, options), ExitCode::kDone;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  if (!a.quiet)
    fmt::print(stderr, "{}: {} configurations x {} items x {} repeats = {} samples -> {}\n", sweep.plan.name, sweep.plan.configs.size(), sweep.examples.size(),
               sweep.plan.total_repeats(), sweep.num_samples(), options.out_dir);
  ProgressPrinter progress(a.quiet);
  size_t failures = 0;
  options.on_progress = [&](const ProgressMeter& meter) { progress.show(meter); };
  options.on_failure = [&](const std::string& what) {
    if (++failures > 3) return;  // the first few tell; the count comes at the end
    progress.end_line();
    fmt::print(stderr, "sample failed: {}\n", what);
  };
  const SweepOutcome outcome = run_sweep(sweep, options);
  progress.end_line();
  return report(outcome);
}

}  // namespace

void add_sweep(CommandLine& line) {
  const Command command = line.command("sweep", "run the configurations of a TOML file; finished samples are never run twice");
  auto* a = new Arguments;
  command.option("config", a->config, "sweep file, for example experiments/quickstart.toml").required();
  command.option("--out", a->out, "folder of the run (default: results/runs/NAME)");
  command.option("--set", a->set, "override a key of the file: --set run.repeats=3 --set dataset.name='source(items=50)'");
  command.option("--shard", a->shard, "I/N: run the I-th of N disjoint parts, into files of its own (run-I-of-N)");
  command.option("--limit", a->limit, "only the first so many items (biased when the data set is sorted; [dataset] subset = N draws some by category)").positive();
  command.option("--threads", a->threads, "samples run side by side (default: all cores)").positive();
  command.option("--batch", a->batch, "samples of one configuration that go through the denoiser together; never changes results").range(1, 65536);
  command.flag("--dry-run", a->dry_run, "print the plan (configurations, items, most forwards) and run nothing");
  command.flag("--quiet", a->quiet, "no progress");
  command.footer("Examples:\n  canvaslab sweep experiments/quickstart.toml\n  canvaslab sweep my.toml --shard 1/4 --out runs/my   (then 2/4 ... elsewhere)\n"
                  "Ctrl-C finishes the current samples; the same command goes on where it stopped.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
