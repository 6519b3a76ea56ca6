// live_code_bench - LiveCodeBench code generation: programs judged by running them. livecodebench/code_generation_lite.
// Published prompt: LiveCodeBench lcb_runner/prompts (evaluation.md 1.4). Loads and asks; grading waits for the sandbox.
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

class LiveCodeBench final : public GradedDataset {
 public:
  explicit LiveCodeBench(const Options& options) : LiveCodeBench(options, PromptTemplate("live_code_bench", options.text("template"))) {}
  std::string cannot_score() const override { return "programs are judged by running them, and the sandbox for that is not built yet"; }

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    read_rows(path_, [&](const DataRow& row) { out.push_back(example_of(JsonFields(row.fields, row.where))); });
    return out;
  }
  Grades grade(const Example&, std::string_view) const override { throw std::logic_error("a program was graded without a sandbox"); }

 private:
  LiveCodeBench(const Options& options, PromptTemplate words)
      : GradedDataset(options, {"file"}, words.identity()), path_(options.text("file")), template_(std::move(words)) {}

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

  std::string path_;
  PromptTemplate template_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "live_code_bench",
    .summary = "LiveCodeBench: programming contests; prompts alone until the sandbox is built",
    .source = "livecodebench/code_generation_lite; arXiv 2403.07974; evaluation.md 1.4",
    .aliases = {"lcb"},
    .parameters = {required_text_param("file", "test6.jsonl (the 175 items called v6), or another of its files"), template_param(), grader_param()},
    .facts = {.needs_source = false,
              .needs_text = true,
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
