// canvaslab export: a finished run for other tools.
#include <filesystem>

#include "core/error.h"
#include "eval/export.h"
#include "eval/run_scores.h"
#include "experiments/commands.h"

namespace canvaslab {

void add_export(CommandLine& line) {
  const Command command = line.command("export", "write a finished run as CSV, Markdown or lm-evaluation-harness-style JSON");
  auto* run = new std::string;
  auto* format = new std::string;
  auto* out = new std::string;
  command.option("run", *run, "run folder or run.h5").required();
  command.option("--format", *format, "csv, markdown, compact or json").required();
  command.option("--out", *out, "folder for the files (default: export/ beside the run)");
  command.footer("Examples:\n  canvaslab export results/runs/quickstart --format markdown\n  canvaslab export results/runs/quickstart --format csv --out /tmp/tables\n"
                  "csv: configurations.csv (all aggregates) and samples.csv. markdown: results.md. compact: compact.md, fit for a page. json: results_config-N.json and\n"
                  "samples_TASK_config-N.jsonl per configuration; responses are token ids, and what a run does not record is null.\n"
                  "The files written are printed; files of these names are replaced.");
  command.action([=] {
    if (const std::string caveat = quality_caveat(open_results(*run)); !caveat.empty()) fmt::print(stderr, "note: {}\n", caveat);
    const auto beside = std::filesystem::is_directory(*run) ? std::filesystem::path(*run) : std::filesystem::path(*run).parent_path();
    for (const auto& path : export_run(*run, *format, out->empty() ? (beside / "export").string() : *out)) fmt::print("{}\n", path);
  });
}

}  // namespace canvaslab
