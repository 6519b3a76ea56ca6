// canvaslab sweep: the main job; resumes by itself.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <thread>

#include "core/error.h"
#include "eval/datasets/joined.h"
#include "eval/halving.h"
#include "eval/shard.h"
#include "experiments/commands.h"
#include "experiments/forward_cost.h"
#include "experiments/plugins.h"
#include "experiments/shown_run.h"
#include "experiments/sweep_setup.h"
#include "samplers/plan_notes.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string config, out, shard, progress = "text";
  std::vector<std::string> set, plugins, reuse;
  int threads = 0, batch = 1;
  int64_t limit = 0;
  bool dry_run = false, quiet = false;
};

void read_shard(const Arguments& a, SweepOptions& options) {
  const Shard shard = a.shard.empty() ? shard_of_environment([](const char* name) { return std::string(std::getenv(name) ? std::getenv(name) : ""); }) : parse_shard(a.shard);
  options.shard = shard.index;
  options.num_shards = shard.count;
  if (a.shard.empty() && shard.count > 1)
    fmt::print(stderr, "{} says: shard {}/{} (--shard 1/1 runs everything)\n", shard.source, shard.index, shard.count);
}

/// How many prompts have how many tokens, by powers of two.
void print_prompt_lengths(const PreparedSweep& sweep) {
  std::map<size_t, size_t> counts;  // by the least power of two above the length: 0 -> 1 (no prompt), 1 -> 2, 2..3 -> 4, ...
  for (const auto& example : sweep.examples) ++counts[std::bit_ceil(example.prompt_ids.size() + 1)];
  size_t most = 1;
  for (const auto& [above, count] : counts) most = std::max(most, count);
  for (const auto& [above, count] : counts) {
    const std::string range = above == 1 ? "no prompt" : above == 2 ? "1 token" : fmt::format("{} to {} tokens", above / 2, above - 1);
    fmt::print("  {:<22} {:>7}  {}\n", range, count, std::string((count * 40 + most - 1) / most, '#'));
  }
}

/// How many prompts hold how many worked examples, where any do: some may have been left out to fit.
void print_shots(const PreparedSweep& sweep) {
  std::map<int32_t, size_t> counts;
  for (const auto& example : sweep.examples) ++counts[example.num_shots];
  if (counts.rbegin()->first == 0) return;
  fmt::print("worked examples in the prompt:");
  for (auto at = counts.rbegin(); at != counts.rend(); ++at) fmt::print("{} {} in {} prompts", at == counts.rbegin() ? "" : ",", at->first, at->second);
  fmt::print("\n");
}

/// Times a short generation per canvas length and says what the plan takes at most on this machine.
void print_cost(const PreparedSweep& sweep, const std::vector<SweepTask>& tasks, const SweepOptions& options) {
  std::map<int32_t, double> seconds;  // a forward, by canvas length
  double total = 0;
  for (const auto& task : tasks) {
    const GenerationPlan& plan = sweep.generation[task.config];
    const SweepConfig& config = sweep.plan.configs[task.config];
    if (config.control) continue;
    auto at = seconds.find(plan.canvas_length);
    if (at == seconds.end()) at = seconds.emplace(plan.canvas_length, seconds_per_forward(*sweep.denoiser, config.request, plan.canvas_length, sweep.examples[task.item].prompt_ids)).first;
    total += most_forwards(plan) * at->second;
  }
  const unsigned threads = options.threads > 0 ? static_cast<unsigned>(options.threads) : std::max(1u, std::thread::hardware_concurrency());
  for (const auto& [length, each] : seconds) fmt::print("a forward on {} positions, sampler included: {:.3g} ms (measured now, one thread)\n", length, 1e3 * each);
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  const bool shared = !sweep.denoiser->facts().runs_on.empty();  // a device's forwards are no faster for being many
  fmt::print("at most {} on {} thread{}; {:.0f} MB of memory with the denoiser open and one sequence\n", duration_text(shared ? total : total / threads), threads, threads > 1 ? "s" : "", static_cast<double>(usage.ru_maxrss) / 1024);
}

void print_halving(const PreparedSweep& sweep, size_t most) {
  const HalvingPlan& plan = *sweep.plan.halving;
  fmt::print("successive halving of {} candidates: rounds on {} items, then the winner on {} unseen ones\n", sweep.num_candidates, fmt::join(plan.round_items, ", "), plan.confirm_items);
  fmt::print("a test drops at p <= {:.3g}: alpha {:g} over {} rounds x {} ordered pairs; {}\n", halving_level(plan, sweep.num_candidates), plan.alpha, plan.round_items.size(),
             sweep.num_candidates * (sweep.num_candidates - 1), plan.keep_faster ? "a faster configuration stays" : "however fast");
  fmt::print("at most {} samples, if nothing is dropped", most);
}

/// One line, or of data sets joined one each with its items.
void print_data_sets(const PreparedSweep& sweep) {
  const auto sets = joined_sets(sweep.plan.dataset);
  if (sets.empty()) fmt::print("data set  {}\n", sweep.plan.dataset);
  for (const auto& set : sets) {
    const auto items = std::count_if(sweep.examples.begin(), sweep.examples.end(), [&](const Example& example) { return example.set == set.label; });
    fmt::print("data set  {}: {} items of {}{}\n", set.label, items, set.dataset, set.subset ? fmt::format(", drawn by category with seed {}", set.subset_seed) : "");
  }
}

/// The plan on stdout: configurations, items, the most forwards it can take. Nothing is written.
void print_plan(const PreparedSweep& sweep, const SweepOptions& options) {
  const auto tasks = sweep.plan.halving ? halving_worst_case(sweep) : shard_tasks(sweep, options.shard, options.num_shards);
  std::vector<size_t> samples(sweep.plan.configs.size());
  for (const auto& task : tasks) ++samples[task.config];
  double total = 0;
  fmt::print("denoiser  {}\n", sweep.plan.denoiser);
  print_data_sets(sweep);
  fmt::print("\n{:>4}  {:>8}  {:>12}  settings\n", "", "samples", "forwards <=");
  for (size_t c = 0; c < samples.size(); ++c) {
    const auto& plan = sweep.generation[c];
    const double each = sweep.plan.configs[c].control ? 0 : most_forwards(plan);
    const double most = each * static_cast<double>(samples[c]);
    total += most;
    fmt::print("{:4}  {:8}  {:12.0f}  {}\n", c, samples[c], most, sweep.settings_text[c]);
  }
  if (sweep.plan.subset) fmt::print("\nsubset: {} items drawn by category with seed {}", *sweep.plan.subset, sweep.plan.subset_seed);
  fmt::print("\n{} items ({} to {})\n", sweep.examples.size(), sweep.examples.front().id, sweep.examples.back().id);
  print_prompt_lengths(sweep);
  print_shots(sweep);
  if (sweep.plan.halving) print_halving(sweep, tasks.size());
  else fmt::print("{} configurations x {} items x {} seeds x {} repeats = {} samples", samples.size(), sweep.examples.size(), sweep.plan.seeds.size(), sweep.plan.repeats, sweep.num_samples());
  if (options.num_shards > 1) fmt::print("; {} of them in shard {}/{}", tasks.size(), options.shard, options.num_shards);
  fmt::print("\nat most {:.0f} forwards of the denoiser, into {}\n", total, options.out_dir);
  std::fflush(stdout);  // the plan is there while the cost is measured
  try {
    print_cost(sweep, tasks, options);
  } catch (const UserError& error) {  // the plan stands all the same
    fmt::print("time and memory could not be measured: {}\n", error.what());
  }
}

/// What surprises in the plan's configurations, each thing once.
void print_notes(const PreparedSweep& sweep) {
  std::map<std::string, size_t> counts;
  for (size_t c = 0; c < sweep.generation.size(); ++c)
    if (!sweep.plan.configs[c].control)
      for (const auto& note : plan_notes(sweep.generation[c], *sweep.denoiser)) ++counts[note];
  constexpr size_t kMostShown = 6;
  size_t shown = 0;
  for (const auto& [note, count] : counts)
    if (shown++ < kMostShown) fmt::print(stderr, "note ({} configuration{}): {}\n", count, count > 1 ? "s" : "", note);
  if (shown > kMostShown) fmt::print(stderr, "and {} notes more of this kind\n", shown - kMostShown);
  for (size_t c = 0; c < sweep.generation.size(); ++c) {
    const PlanRequest& asked = sweep.plan.configs[c].request;
    if (sweep.plan.configs[c].control || !asked.keep_ramp || asked.anneal_over || sweep.generation[c].anneal_over == sweep.generation[c].num_decisions()) continue;
    fmt::print(stderr, "note: step limits differ, so that all temperatures keep one ramp, over {} steps; anneal_over in the grid sets another\n", sweep.generation[c].anneal_over);
    break;
  }
  if (const Source* source = sweep.denoiser->source(); source && !source->pairs_show_rule())
    fmt::print(stderr, "note: this source's rule joins tokens that are no neighbours, and the divergence compares neighbours: judge by the likelihood beside the output's entropy\n");
}

ExitCode report(const SweepOutcome& outcome) {
  if (outcome.interrupted) return report_interrupt(outcome);
  if (outcome.ran == 0 && !outcome.wrote_results) fmt::print(stderr, "nothing to do: all {} samples are in {}\n", outcome.total, outcome.results_path);
  else if (outcome.ran == 0) fmt::print(stderr, "all {} samples were done; wrote {}\n", outcome.total, outcome.results_path);
  else fmt::print(stderr, "finished: {} samples run, {} found done, {} failed; results in {}\n", outcome.ran, outcome.already_done, outcome.failed, outcome.results_path);
  if (outcome.reused > 0) fmt::print(stderr, "{} of them were generated before and only graded now\n", outcome.reused);
  if (outcome.failed == 0) return ExitCode::kDone;
  fmt::print(stderr, "{} samples failed; the same command tries them again\n", outcome.failed);
  return ExitCode::kSomeFailed;
}

ExitCode run(const Arguments& a) {
  SweepOptions options;
  if (a.progress != "text" && a.progress != "json" && a.progress != "none")
    throw usage_error("--progress {}: expected text, json or none{}", a.progress, did_you_mean(a.progress, {"text", "json", "none"}));
  const bool quiet = a.quiet || a.progress == "none", json = a.progress == "json";
  read_shard(a, options);
  load_plugins(a.plugins);
  SweepPlan plan = read_sweep(a.config, a.set);
  if (a.limit > 0) plan.limit = a.limit;
  const PromptEncoder encode = prompt_encoder(plan.denoiser, plan.tokenizer);
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  options.out_dir = a.out.empty() ? "results/runs/" + sweep.plan.name : a.out;
  options.threads = a.threads;
  options.batch = a.batch;
  options.reuse = a.reuse;
  options.command_line = command_line();
  if (a.dry_run) return print_plan(sweep, options), print_notes(sweep), ExitCode::kDone;
  if (!quiet) print_notes(sweep);
  return report(run_shown(sweep, std::move(options), quiet ? Showing::kNothing : json ? Showing::kJson : Showing::kText));
}

}  // namespace

void add_sweep(CommandLine& line) {
  const Command command = line.command("sweep", "run the configurations of a TOML file; finished samples are never run twice");
  auto* a = new Arguments;
  command.option("config", a->config, "sweep file, for example experiments/quickstart.toml").required();
  command.option("--out", a->out, "folder of the run (default: results/runs/NAME)");
  command.option("--set", a->set, "override a key of the file: --set run.repeats=3 --set dataset.name='source(items=50)'; of lists of tables by number from 0: --set dataset.1.subset=20");
  add_plugin_option(command, a->plugins);
  command.option("--shard", a->shard, "I/N: run the I-th of N disjoint parts, into files of its own (run-I-of-N); default: what Slurm or MPI variables say");
  command.option("--reuse", a->reuse, "folder of another run, say of the same file before a data set or sampler was added: samples that this plan wants too are taken from it");
  command.option("--limit", a->limit, "only the first so many items (biased when the data set is sorted; [dataset] subset = N draws some by category)").positive();
  command.option("--threads", a->threads, "samples run side by side (default: all cores)").positive();
  command.option("--batch", a->batch, "samples of one configuration that go through the denoiser together; never changes results").range(1, 65536);
  command.flag("--dry-run", a->dry_run, "print the plan (configurations, items, prompt lengths, most forwards, time and memory on this machine by a few forwards) and write nothing");
  command.option("--progress", a->progress, "text on stderr (a view with a line a configuration on a terminal, plain lines elsewhere), json (one object a line on stdout), or none").shows_default();
  command.flag("--quiet", a->quiet, "same as --progress none");
  command.footer("Examples:\n  canvaslab sweep experiments/quickstart.toml\n  canvaslab sweep my.toml --shard 1/4 --out runs/my   (then 2/4 ... elsewhere)\n"
                  "  canvaslab sweep experiments/search_random.toml --dry-run   (configurations drawn from ranges)\n  canvaslab sweep experiments/halving.toml   (successive halving: the dominated are dropped, the winner confirmed)\n"
                  "Ctrl-C finishes the current samples; the same command goes on where it stopped.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
