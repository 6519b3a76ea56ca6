// canvaslab merge: the shards of one plan become the results of the whole.
#include <filesystem>
#include <set>

#include "core/error.h"
#include "eval/merge.h"
#include "eval/results.h"
#include "experiments/commands.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

/// Journals named one by one, and those in the folders named; each once.
std::vector<std::string> journal_paths(const std::vector<std::string>& given) {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const auto& path : given) {
    if (!std::filesystem::exists(path)) throw input_error("{}: no such file or folder; give run folders or shard journals (run-I-of-N.journal)", path);
    for (const auto& journal : std::filesystem::is_directory(path) ? find_shards(path) : std::vector{path})
      if (seen.insert(std::filesystem::weakly_canonical(journal).string()).second) out.push_back(journal);
  }
  return out;
}

ExitCode run(const std::vector<std::string>& given, std::string out) {
  const auto paths = journal_paths(given);
  if (out.empty()) {
    const auto folder = std::filesystem::path(paths.front()).parent_path().string();
    out = folder.empty() ? "." : folder;
  }
  if (std::filesystem::exists(out + "/run.journal"))
    throw usage_error("{}: already holds an unsharded run (run.journal), whose run.h5 would be replaced\ngive another folder with --out", out);
  std::vector<ShardJournal> journals;
  for (const auto& path : paths) journals.push_back(read_shard(path));
  check_one_plan(journals);
  SweepPlan plan = plan_of_journal(journals.front());
  if (plan.name.empty()) plan.name = std::filesystem::weakly_canonical(out).filename().string();
  const PromptEncoder encode = prompt_encoder(plan.denoiser, plan.tokenizer);
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  const Merged merged = merge_shards(sweep, journals);

  std::error_code made;
  std::filesystem::create_directories(out, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", out, made.message());
  const std::string path = out + "/run.h5";
  SweepOptions options;
  options.command_line = command_line();
  write_results(sweep, merged.samples, path, options);
  fmt::print(stderr, "merged {} journals: {} samples{}; results in {}\n", journals.size(), merged.samples.size(),
             merged.overlaps ? fmt::format(", {} of them found twice with equal content", merged.overlaps) : "", path);
  if (merged.failed == 0) return ExitCode::kDone;
  fmt::print(stderr, "{} samples failed; their shards' sweep commands try them again\n", merged.failed);
  return ExitCode::kSomeFailed;
}

}  // namespace

void add_merge(CommandLine& line) {
  const Command command = line.command("merge", "join the shards of one plan (sweep --shard I/N) into run.h5");
  auto* given = new std::vector<std::string>;
  auto* out = new std::string;
  command.option("runs", *given, "run folders with shard journals, or journals (run-I-of-N.journal)").required();
  command.option("--out", *out, "folder for run.h5 (default: that of the first journal)");
  command.footer("Examples:\n  canvaslab merge results/runs/my\n  canvaslab merge machine-a/run-1-of-2.journal machine-b/run-2-of-2.journal --out results/runs/my\n"
                  "The result equals an unsharded run's in every dataset that is not marked volatile. Model and data must be where they were when\n"
                  "the shards ran. Shard journals are only read. Missing shards and samples are named (exit code 3, nothing is written).");
  command.action([=] { return run(*given, *out); });
}

}  // namespace canvaslab
