// canvaslab regrade: grade the stored tokens of a run again.
#include <filesystem>
#include <map>

#include "core/error.h"
#include "eval/regrade.h"
#include "eval/results.h"
#include "experiments/commands.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string run, dataset, out;
};

void print_changes(const PreparedSweep& sweep, const Regraded& result) {
  std::map<uint32_t, std::pair<int64_t, int64_t>> by_config;  // scores that rose, that fell
  for (const auto& change : result.changes) ++(change.now > change.before ? by_config[change.config_idx].first : by_config[change.config_idx].second);
  if (result.recovered > 0) fmt::print("{} samples had been generated but not graded\n", result.recovered);
  fmt::print("{} samples graded again, {} scores changed; other metrics changed in {} samples\n", result.samples.size() - result.failed, result.changes.size(), result.metric_changes);
  for (const auto& [config, counts] : by_config) fmt::print("  {}: {} rose, {} fell\n", sweep.settings_text[config], counts.first, counts.second);
  for (size_t i = 0; i < std::min<size_t>(20, result.changes.size()); ++i) {
    const auto& change = result.changes[i];
    fmt::print("  item {}, repeat {}, configuration {}: {} -> {}\n", sweep.examples[change.item_idx].id, change.repeat, change.config_idx, change.before, change.now);
  }
  if (result.changes.size() > 20) fmt::print("  and {} more\n", result.changes.size() - 20);
}

ExitCode run(const Arguments& a) {
  const std::string journal_path = std::filesystem::is_directory(a.run) ? a.run + "/run.journal" : a.run;
  if (!std::filesystem::exists(journal_path)) throw input_error("{}: no such file; give the folder of a run, or its run.journal", journal_path);
  const std::string out = a.out.empty() ? (std::filesystem::path(journal_path).parent_path() / "regraded").string() : a.out;
  if (std::filesystem::exists(out + "/run.journal")) throw usage_error("{}: already holds a run; give another folder with --out", out);
  const ShardJournal journal = read_shard(journal_path);
  SweepPlan plan = plan_of_journal(journal);
  if (plan.name.empty()) plan.name = "regraded";
  if (!a.dataset.empty()) plan.dataset = datasets().canonical(a.dataset);
  const PromptEncoder encode = prompt_encoder(plan.denoiser, plan.tokenizer);
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  const Regraded result = regrade(sweep, journal);

  std::error_code made;
  std::filesystem::create_directories(out, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", out, made.message());
  {
    JournalWriter writer(out + "/run.journal", sweep.header + fmt::format("shard {}/{}\n", journal.shard, journal.num_shards), sweep.plan.name);
    for (const auto& sample : result.samples) writer.append(sample);
    writer.sync();
  }
  SweepOptions options;
  options.shard = journal.shard, options.num_shards = journal.num_shards;
  options.command_line = command_line();
  write_results(sweep, result.samples, out + "/run.h5", options);
  print_changes(sweep, result);
  fmt::print(stderr, "results in {}/run.h5\n", out);
  return result.failed == 0 ? ExitCode::kDone : ExitCode::kSomeFailed;
}

}  // namespace

void add_regrade(CommandLine& line) {
  const Command command = line.command("regrade", "grade the stored tokens of a run again, with the graders of today or another rule");
  auto* a = new Arguments;
  command.option("run", a->run, "folder of the run, or its journal").required();
  command.option("--dataset", a->dataset, "the data set as it should grade now, for example 'gpqa(file=X, grader=official)' (default: as it was)");
  command.option("--out", a->out, "folder for the new run (default: regraded/ in the run's)");
  command.footer("Examples:\n  canvaslab regrade results/runs/my\n  canvaslab regrade results/runs/my --dataset \"mmlu_pro(file=test.parquet, grader=official)\" --out results/runs/my-official\n"
                  "Nothing is generated. The run itself is only read; what is written is a run of its own, for plot, export and, graded alike, diff.\n"
                  "Items, prompts and configurations must be those of the run.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
