// aime - AIME: whole numbers from 0 to 999. MathArena/aime_2026 and copies of other years; the problems belong to the MAA.
// Published prompt: eth-sri/matharena; published rule: lm-evaluation-harness aime (evaluation.md 1.3).
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/grading/integer.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

class Aime final : public GradedDataset {
 public:
  explicit Aime(const Options& options) : Aime(options, PromptTemplate("aime", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    read_rows(path_, [&](const DataRow& row) { out.push_back(example_of(JsonFields(row.fields, row.where))); });
    return out;
  }

  Grades grade(const Example& example, std::string_view answer) const override {
    auto house = grading::aime_house(answer);
    const bool right = grading::aime_correct(house, example.reference);
    return {graded(std::move(house), right), graded(grading::aime_lm_eval(answer), grading::aime_lm_eval_correct(answer, example.reference))};
  }

 private:
  Aime(const Options& options, PromptTemplate words) : GradedDataset(options, {"file"}, words.identity()), path_(options.text("file")), template_(std::move(words)) {}

  Example example_of(const JsonFields& fields) const {
    Example out;
    out.id = std::to_string(fields.integer("problem_idx"));
    const Json& answer = fields.need("answer");
    const auto gold = grading::parse_whole(answer.is_string() ? answer.get<std::string>() : json_text(answer));
    if (!gold || gold->starts_with('-') || gold->size() > 3) throw input_error("{}: expected a whole number from 0 to 999, got {}", fields.at("answer"), json_text(answer).substr(0, 40));
    out.reference = *gold;
    if (const Json* types = fields.find("problem_type"); types && types->is_array() && !types->empty() && types->front().is_string()) out.category = types->front();
    out.messages = {{.role = "user", .content = asked(fields.text("problem"))}};
    return out;
  }

  std::string asked(const std::string& problem) const {
    if (template_.is_house()) return "Solve the problem. Put the final integer, between 0 and 999, in \\boxed{}.\n\n" + problem;
    if (!template_.known().empty()) return template_.text() + "\n\n" + problem;
    return filled(template_.text(), {{"question", problem}, {"options", ""}, {"category", ""}});
  }

  std::string path_;
  PromptTemplate template_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "aime",
    .summary = "AIME: competition problems whose answers are whole numbers from 0 to 999",
    .source = "MathArena/aime_2026; evaluation.md 1.3",
    .aliases = {"aime_2026"},
    .parameters = {required_text_param("file", "Parquet as published, JSON lines, or records of canvaslab data convert"), template_param(), grader_param()},
    .facts = {.needs_source = false,
              .needs_text = true,
              .files = {.columns = {"problem_idx", "problem", "answer"},
                        .obtain = "https://huggingface.co/datasets/MathArena/aime_2026",
                        .terms = "not gated; the problems belong to the Mathematical Association of America: do not redistribute",
                        .known = {{.name = "aime_2026, split train", .num_rows = 30}}}},
    .make = [](const Options& options) { return std::make_unique<Aime>(options); }});

}  // namespace
}  // namespace canvaslab
