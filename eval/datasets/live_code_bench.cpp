// live_code_bench - LiveCodeBench code generation: programs judged by running them. livecodebench/code_generation_lite.
// Published prompt: LiveCodeBench lcb_runner/prompts (evaluation.md 1.4). Both graders: eval/sandbox/contest.h.
#include <map>
#include <memory>
#include <mutex>

#include "core/digest.h"
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/grading/code.h"
#include "eval/program_dataset.h"
#include "eval/prompt_template.h"
#include "eval/recent.h"
#include "eval/rows.h"
#include "eval/sandbox/contest.h"

namespace canvaslab {
namespace {

/// Items whose decoded tests are kept: many samples of one item are judged one after the other, and a few items have hundreds
/// of megabytes of tests.
constexpr size_t kMostDecoded = 4;

/// What verdicts on an item depend on, as it stands in the file.
std::string tests_identity(const JsonFields& fields) {
  std::string raw;
  for (const char* key : {"public_test_cases", "private_test_cases", "metadata"}) raw += fields.text_or(key, "") + "\n";
  return hex(sha256(raw));
}

class LiveCodeBench final : public ProgramDataset {
 public:
  explicit LiveCodeBench(const Options& options) : LiveCodeBench(options, PromptTemplate("live_code_bench", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    std::map<std::string, Place> places;
    read_rows(path_, [&](const DataRow& row) {
      const JsonFields fields(row.fields, row.where);
      out.push_back(example_of(fields));
      if (row.offset < 0) throw input_error("{}LiveCodeBench is read from JSON lines, as it is published", row.where);
      places[out.back().id] = {.offset = row.offset, .identity = tests_identity(fields)};
    });
    const std::lock_guard lock(mutex_);
    places_ = std::move(places);
    rows_ = std::make_shared<RowFile>(path_);
    return out;
  }

  Grades extract(const Example&, std::string_view answer) const override { return {{.extraction = grading::code_house(answer)}, {.extraction = grading::code_live_code_bench(answer)}}; }

  ProgramVerdict judge(const Example& example, const std::string& program, bool official) const override {
    const Place place = place_of(example.id);
    const auto grader = official ? ContestGrader::kCompat : ContestGrader::kStrict;
    return cached(contest_grader_name(grader), place.identity, program, [&] {
      const auto tests = tests_.get(example.id, [&] { return decoded(example.id, place); });
      return judge_contest(isolation(), program, *tests, grader, {.timeout_seconds = timeout_seconds(), .memory_bytes = memory_bytes()});
    });
  }

 private:
  LiveCodeBench(const Options& options, PromptTemplate words)
      : ProgramDataset(options, {"file"}, words.identity()), path_(options.text("file")), template_(std::move(words)) {}

  /// Test cases stay in the file: they are large, and only grading needs them.
  Example example_of(const JsonFields& fields) const {
    Example out;
    out.id = fields.text("question_id");
    out.category = fields.text("difficulty");
    const std::string starter = fields.text_or("starter_code", "");
    if (template_.known() == "generic_system") out.messages.push_back({.role = "system", .content = template_.text()});
    out.messages.push_back({.role = "user", .content = asked(fields.text("question_content"), starter)});
    return out;
  }

  std::string asked(const std::string& statement, const std::string& starter) const {
    if (!template_.is_house() && template_.known().empty()) return filled(template_.text(), {{"question", statement}, {"options", starter}, {"category", ""}});
    return fmt::format("{}\n\nWrite a Python program that solves this{}. End with the whole program in one ```python block.{}", statement,
                       starter.empty() ? ", reading standard input and printing the answer" : " by completing the code below",
                       starter.empty() ? "" : fmt::format("\n\n```python\n{}\n```", starter));
  }

  /// Where an item's row stands, and what its tests are.
  struct Place {
    int64_t offset = 0;
    std::string identity;
  };
  Place place_of(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto at = places_.find(id);
    if (at == places_.end()) throw std::logic_error("an item is judged that was never loaded: " + id);
    return at->second;
  }
  ProgramTests decoded(const std::string& id, const Place& place) const {
    std::shared_ptr<RowFile> rows;  // this call's own, should the data set be loaded anew meanwhile
    {
      const std::lock_guard lock(mutex_);
      rows = rows_;
    }
    const DataRow row = rows->at(place.offset);
    const JsonFields fields(row.fields, row.where);
    if (fields.text("question_id") != id || tests_identity(fields) != place.identity) throw input_error("{}expected item '{}' as it was; the file has changed while it was in use", row.where, id);
    return program_tests_of(row);
  }

  std::string path_;
  PromptTemplate template_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Place> places_;
  mutable std::shared_ptr<RowFile> rows_;
  mutable Recent<ProgramTests> tests_{kMostDecoded};
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "live_code_bench",
    .summary = "LiveCodeBench: programming contests, judged by running the programs in a sandbox",
    .source = "livecodebench/code_generation_lite; arXiv 2403.07974; evaluation.md 1.4",
    .aliases = {"lcb"},
    .parameters = with_program_params({required_text_param("file", "test6.jsonl (the 175 items called v6), or another of its files"), template_param(),
                                       text_param("grader", "official", "whose verdict is the score: official is lcb_compat, as the published runner judges; house is strict, a fresh process for each test (the other is a metric)",
                                                  {"official", "house"})}, 6),
    .facts = {.needs_source = false,
              .needs_text = true,
              .runs_programs = true,
              .files = {.columns = {"question_title", "question_content", "platform", "question_id", "contest_id", "contest_date", "starter_code", "difficulty", "public_test_cases",
                                    "private_test_cases", "metadata"},
                        .category_column = "difficulty",
                        .obtain = "https://huggingface.co/datasets/livecodebench/code_generation_lite",
                        .terms = "card says cc; not gated",
                        .known = {{.name = "test.jsonl", .num_rows = 400, .num_bytes = 1252609773},
                                  {.name = "test2.jsonl", .num_rows = 111, .num_bytes = 713377060},
                                  {.name = "test3.jsonl", .num_rows = 101, .num_bytes = 623360766},
                                  {.name = "test4.jsonl", .num_rows = 101, .num_bytes = 1204644685},
                                  {.name = "test5.jsonl", .num_rows = 167, .num_bytes = 557699297},
                                  {.name = "test6.jsonl (\"v6\" of most published numbers)", .num_rows = 175, .num_bytes = 134303240}}}},
    .make = [](const Options& options) { return std::make_unique<LiveCodeBench>(options); }});

}  // namespace
}  // namespace canvaslab
