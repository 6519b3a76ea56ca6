// canvaslab import: completions of other programs become a run.
#include "core/error.h"
#include "eval/import.h"
#include "experiments/commands.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

ExitCode run(const std::string& file, ImportOptions options, const std::string& out) {
  options.command_line = command_line();
  const ImportOutcome outcome = import_run(file, options, out);
  for (const auto& note : outcome.notes) fmt::print(stderr, "note: {}\n", note);
  fmt::print(stderr, "imported {} samples of {} items as {} configuration{}, score {}; results in {}\n", outcome.num_samples, outcome.num_items, outcome.configs.size(),
             outcome.configs.size() == 1 ? "" : "s", outcome.score_name, outcome.path);
  if (outcome.num_failed == 0) return ExitCode::kDone;
  fmt::print(stderr, "{} samples failed in the program that made them, or have no score\n", outcome.num_failed);
  return ExitCode::kSomeFailed;
}

}  // namespace

void add_import(CommandLine& line) {
  const Command command = line.command("import", "turn completions of other programs into a run: lm-evaluation-harness samples, or id and completion");
  auto* file = new std::string;
  auto* out = new std::string;
  auto* options = new ImportOptions;
  command.option("file", *file, "JSONL file: samples_*.jsonl of lm-evaluation-harness, or lines {\"id\": .., \"completion\": ..}").required();
  command.option("--out", *out, "folder for run.h5").required();
  command.option("--dataset", options->dataset, "data set that the ids belong to; its score() grades where it has answers (default: the file's metric)");
  command.option("--tokenizer", options->tokenizer, "tokenizer.json or its folder: encodes completions of lines without token_ids");
  command.option("--metric", options->metric, "which metric of the file is the score (default: the only one, exact_match or acc)");
  command.flag("--lower-is-better", options->lower_is_better, "the file's metric is an error");
  command.option("--filter", options->filter, "only the lines with this filter (default: every filter becomes a configuration)");
  command.option("--id", options->id_field, "field of the line or of its doc that names the item (default: doc_id, or id)");
  command.footer("Examples:\n  canvaslab import samples_gsm8k_2026-01-01.jsonl --out runs/other\n"
                  "  canvaslab import answers.jsonl --dataset 'prompts(path=prompts.jsonl)' --metric score --out runs/other\n"
                  "  canvaslab diff runs/ours runs/other\n"
                  "The run opens in inspect, diff and export. Completions are kept as text (text/completion_bytes). Bad lines, duplicate and\n"
                  "unknown ids are named with their line, and nothing is written (exit code 3).");
  command.action([=] { return run(*file, *options, *out); });
}

}  // namespace canvaslab
