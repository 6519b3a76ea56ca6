// canvaslab data: check a data file, or turn it into records that need no Parquet.
#include "core/error.h"
#include "core/json.h"
#include "eval/data_check.h"
#include "eval/prompt_template.h"
#include "eval/records.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string what, file, dataset, out;
  bool json = false;
};

void print_text(const DataReport& report, const FileFacts& facts) {
  fmt::print("file       {}\ndata set   {}\nsize       {} bytes\nsha256     {}\nrows       {}{}\ncolumns    {}\n", report.path, report.dataset, report.num_bytes, report.sha256, report.num_rows,
             report.known_as.empty() ? "" : ", as published in " + report.known_as, joined(report.columns));
  for (const auto& [name, count] : report.categories) fmt::print("  {:<32} {:>7}\n", name.empty() ? "(none)" : name, count);
  fmt::print("obtain     {}\nterms      {}\n", facts.obtain, facts.terms);
  for (const auto& known : known_templates())
    if (known.dataset == report.dataset) fmt::print("template   {}: {} bytes, sha256 {}..., from {}\n", known.name, known.num_bytes, known.sha256_start, known.origin);
  for (const auto& note : report.notes) fmt::print("note       {}\n", note);
  for (const auto& problem : report.problems) fmt::print("problem    {}\n", problem);
  fmt::print("{}\n", report.problems.empty() ? "every row can be used" : "not usable as it is");
}

void print_json(const DataReport& report, const FileFacts& facts) {
  fmt::print("{}\n", json_text(OrderedJson{{"file", report.path}, {"dataset", report.dataset}, {"num_bytes", report.num_bytes}, {"sha256", report.sha256}, {"num_rows", report.num_rows},
                                           {"known_as", report.known_as}, {"columns", report.columns}, {"categories", report.categories}, {"obtain", facts.obtain}, {"terms", facts.terms},
                                           {"notes", report.notes}, {"problems", report.problems}}));
}

ExitCode run(const Arguments& a) {
  if (a.what == "check") {
    const DataReport report = check_data_file(a.file, a.dataset);
    const FileFacts& facts = file_dataset(report.dataset).facts.files;
    a.json ? print_json(report, facts) : print_text(report, facts);
    return report.problems.empty() ? ExitCode::kDone : ExitCode::kBadInput;
  }
  if (a.what != "convert") throw usage_error("data {}: expected check or convert{}", a.what, did_you_mean(a.what, {"check", "convert"}));
  if (a.out.empty()) throw usage_error("data convert needs --out FILE.jsonl");
  const std::string dataset = a.dataset.empty() ? check_data_file(a.file, "").dataset : a.dataset;
  const size_t count = convert_to_records(a.file, dataset, a.out);
  fmt::print(stderr, "wrote {} records of {} to {}\n", count, dataset, a.out);
  return ExitCode::kDone;
}

}  // namespace

void add_data(CommandLine& line) {
  const Command command = line.command("data", "check a benchmark's data file, or convert it to records that need no Parquet");
  auto* a = new Arguments;
  command.option("what", a->what, "check or convert").required();
  command.option("file", a->file, "the data file: Parquet, CSV, JSON lines (.gz too) or records").required();
  command.option("--dataset", a->dataset, "what it should be: mmlu_pro, gpqa, aime, math_vision, live_code_bench, human_eval (default: what its columns say)");
  command.option("--out", a->out, "convert: the record file to write, .jsonl");
  command.flag("--json", a->json, "check: one JSON object on stdout");
  command.footer("Examples:\n  canvaslab data check gpqa_diamond.csv\n  canvaslab data convert test-00000-of-00001.parquet --dataset mmlu_pro --out mmlu_pro.jsonl\n"
                 "check reads every row as the data set does and counts rows, columns and categories; texts of the file are never printed.\n"
                 "Records hold the rows as they were with a hash each. A run on records and one on their source count as the same data.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
