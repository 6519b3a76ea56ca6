// live_code_bench - LiveCodeBench code generation: programs judged by running them. livecodebench/code_generation_lite.
// Published prompt: LiveCodeBench lcb_runner/prompts (evaluation.md 1.4). Both graders: eval/sandbox/contest.h.
#include <list>
#include <map>
#include <mutex>

#include "core/digest.h"
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/grading/code.h"
#include "eval/program_dataset.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"
#include "eval/sandbox/contest.h"

namespace canvaslab {
namespace {

/// Decoded tests of the items used last: many samples of one item are judged one after the other, and a few items have
/// hundreds of megabytes of tests.
class TestsCache {
 public:
  struct Entry {
    std::string id, identity;
    ProgramTests tests;
  };
  std::shared_ptr<const Entry> get(const std::string& path, const std::string& id, int64_t offset) {
    {
      const std::lock_guard lock(mutex_);
      for (auto at = recent_.begin(); at != recent_.end(); ++at)
        if ((*at)->id == id) return recent_.splice(recent_.begin(), recent_, at), recent_.front();
    }
    const DataRow row = read_row_at(path, offset);
    const JsonFields fields(row.fields, row.where);
    if (fields.text("question_id") != id) throw input_error("{}expected item '{}'; the file has changed while it was in use", row.where, id);
    std::string raw;
    for (const char* key : {"public_test_cases", "private_test_cases", "metadata"}) raw += fields.text_or(key, "") + "\n";
    auto entry = std::make_shared<const Entry>(Entry{id, hex(sha256(raw)), program_tests_of(row)});
    const std::lock_guard lock(mutex_);
    recent_.push_front(entry);
    if (recent_.size() > kMost) recent_.pop_back();
    return entry;
  }

 private:
  static constexpr size_t kMost = 4;
  std::mutex mutex_;
  std::list<std::shared_ptr<const Entry>> recent_;
};

class LiveCodeBench final : public ProgramDataset {
 public:
  explicit LiveCodeBench(const Options& options) : LiveCodeBench(options, PromptTemplate("live_code_bench", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    std::map<std::string, int64_t> offsets;
    read_rows(path_, [&](const DataRow& row) {
      out.push_back(example_of(JsonFields(row.fields, row.where)));
      if (row.offset < 0) throw input_error("{}LiveCodeBench is read from JSON lines, as it is published", row.where);
      offsets[out.back().id] = row.offset;
    });
    const std::lock_guard lock(mutex_);
    offsets_ = std::move(offsets);
    return out;
  }

  Grades extract(const Example&, std::string_view answer) const override { return {{.extraction = grading::code_house(answer)}, {.extraction = grading::code_live_code_bench(answer)}}; }

  ProgramVerdict judge(const Example& example, const std::string& program, bool official) const override {
    const auto entry = tests_.get(path_, example.id, offset_of(example.id));
    const auto grader = official ? ContestGrader::kCompat : ContestGrader::kStrict;
    return cached(contest_grader_name(grader), entry->identity, program,
                  [&] { return judge_contest(isolation(), program, entry->tests, grader, {.timeout_seconds = timeout_seconds(), .memory_bytes = memory_bytes()}); });
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

  int64_t offset_of(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto at = offsets_.find(id);
    if (at == offsets_.end()) throw std::logic_error("an item is judged that was never loaded: " + id);
    return at->second;
  }

  std::string path_;
  PromptTemplate template_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, int64_t> offsets_;  ///< of each item's row
  mutable TestsCache tests_;
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
