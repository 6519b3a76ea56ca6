// canvaslab sweep: the main job; resumes by itself.
#include <csignal>
#include <filesystem>

#include "core/error.h"
#include "core/text/chat.h"
#include "eval/sweep.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

std::atomic<int> interrupts{0};

void on_signal(int) {
  if (interrupts.fetch_add(1) > 0) std::_Exit(static_cast<int>(ExitCode::kInterrupted));  // a second one leaves at once; the journal stays whole
}

struct Arguments {
  std::string config, out, shard;
  std::vector<std::string> set;
  int threads = 0;
  int64_t limit = 0;
  bool dry_run = false, quiet = false;
};

void read_shard(const std::string& text, SweepOptions& options) {
  if (text.empty()) return;
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw usage_error("--shard {}: expected I/N, for example 1/8", text);
  const int64_t i = parse_integer(text.substr(0, slash), "--shard"), n = parse_integer(text.substr(slash + 1), "--shard");
  if (n < 1 || i < 1 || i > n || n > 1000000) throw usage_error("--shard {}: expected 1 <= I <= N", text);
  options.shard = static_cast<uint32_t>(i);
  options.num_shards = static_cast<uint32_t>(n);
}

void run(const Arguments& a, int* exit_code) {
  SweepOptions options;
  read_shard(a.shard, options);
  SweepPlan plan = read_sweep(a.config, a.set);
  if (a.limit > 0) plan.limit = a.limit;
  // Text prompts go through the checkpoint's chat template, or as they are when it has none.
  const auto text = std::filesystem::is_directory(plan.denoiser) ? TextModel::load(plan.denoiser) : std::nullopt;
  PromptEncoder encode;
  if (text) encode = [&](const std::string& prompt) { return text->prompt(prompt, text->has_chat(), {}); };
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  options.out_dir = a.out.empty() ? "results/runs/" + sweep.plan.name : a.out;
  options.threads = a.threads;
  options.quiet = a.quiet;
  options.interrupt = &interrupts;
  if (a.dry_run) {
    double most = 0;
    for (size_t c = 0; c < sweep.plan.configs.size(); ++c) {
      fmt::print("{:4}  {}\n", c, sweep.settings_text[c]);
      if (!sweep.plan.configs[c].control) most += static_cast<double>(sweep.generation[c].num_steps) * sweep.generation[c].num_canvases();
    }
    fmt::print("{} configurations x {} items x {} repeats = {} samples, at most {:.0f} denoiser forwards, into {}\n", sweep.plan.configs.size(),
               sweep.examples.size(), sweep.plan.repeats, sweep.num_samples(), most * static_cast<double>(sweep.examples.size()) * sweep.plan.repeats, options.out_dir);
    return;
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  if (!a.quiet) fmt::print(stderr, "{}: {} configurations x {} items x {} repeats = {} samples -> {}\n", sweep.plan.name, sweep.plan.configs.size(), sweep.examples.size(),
                           sweep.plan.repeats, sweep.num_samples(), options.out_dir);
  const SweepOutcome outcome = run_sweep(sweep, options);
  if (outcome.interrupted) {
    fmt::print(stderr, "interrupted: {} of {} samples are done and kept; start the same command again to go on\n", outcome.already_done + outcome.ran, outcome.total);
    *exit_code = static_cast<int>(ExitCode::kInterrupted);
    return;
  }
  if (outcome.ran == 0) fmt::print(stderr, "nothing to do: all {} samples are in {}\n", outcome.total, outcome.results_path);
  else fmt::print(stderr, "finished: {} samples run, {} found done, {} failed; results in {}\n", outcome.ran, outcome.already_done, outcome.failed, outcome.results_path);
  if (outcome.failed > 0) *exit_code = static_cast<int>(ExitCode::kSomeFailed);
}

}  // namespace

void add_sweep(CLI::App& app, int* exit_code) {
  auto* command = app.add_subcommand("sweep", "run the configurations of a TOML file; finished samples are never run twice");
  auto* a = new Arguments;
  command->add_option("config", a->config, "sweep file, for example experiments/quickstart.toml")->required();
  command->add_option("--out", a->out, "folder of the run (default: results/runs/NAME)");
  command->add_option("--set", a->set, "override a key of the file: --set run.repeats=3 --set dataset.name='source(items=50)'");
  command->add_option("--shard", a->shard, "I/N: run the I-th of N independent parts");
  command->add_option("--limit", a->limit, "only the first so many items")->check(CLI::PositiveNumber);
  command->add_option("--threads", a->threads, "samples run side by side (default: all cores)")->check(CLI::PositiveNumber);
  command->add_flag("--dry-run", a->dry_run, "print the plan and run nothing");
  command->add_flag("--quiet", a->quiet, "no progress");
  command->footer("Examples:\n  canvaslab sweep experiments/quickstart.toml\n  canvaslab sweep my.toml --shard 1/4 --out runs/my   (then 2/4 ... elsewhere)\n"
                  "Ctrl-C finishes the current samples; the same command goes on where it stopped.");
  command->callback([=] { run(*a, exit_code); });
}

}  // namespace canvaslab
