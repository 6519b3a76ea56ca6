// jsonl - any questions with answers, one object a line.
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/grading/choice.h"
#include "eval/grading/integer.h"
#include "eval/grading/math.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

using grading::Extraction;

/// The whole answer without white space at its ends.
Grade grade_exact(std::string_view answer, const std::string& reference) {
  const std::string text(grading::strip(answer));
  return graded(text.empty() ? Extraction{} : Extraction{text, "whole_text"}, text == grading::strip(reference));
}

class Jsonl final : public GradedDataset {
 public:
  explicit Jsonl(const Options& options)
      : GradedDataset(options, {"file"}), path_(options.text("file")), prompt_(options.text("prompt")), answer_(options.text("answer")), options_(options.text("options")),
        category_(options.text("category")), id_(options.text("id")), rule_(options.text("rule")) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    read_rows(path_, [&](const DataRow& row) { out.push_back(example_of(row, out.size() + 1)); });
    return out;
  }
  Grades grade(const Example& example, std::string_view answer) const override {
    const std::string& gold = example.reference;
    if (rule_ == "choice") {
      auto house = grading::mmlu_pro_house(answer, example.options.size()), official = grading::mmlu_pro_official(answer);
      const bool same = house.text == gold, published = official.text == gold;
      return {graded(std::move(house), same), graded(std::move(official), published)};
    }
    if (rule_ == "integer") {
      auto house = grading::aime_house(answer);
      const bool same = grading::aime_correct(house, gold);
      return {graded(std::move(house), same), graded(grading::aime_lm_eval(answer), grading::aime_lm_eval_correct(answer, gold))};
    }
    if (rule_ == "math") {
      auto house = grading::math_house(answer), official = grading::math_vision_official(answer);
      const bool same = grading::math_vision_correct(house.text, gold, example.options), published = grading::math_vision_correct(official.text, gold, example.options);
      return {graded(std::move(house), same), graded(std::move(official), published)};
    }
    return {grade_exact(answer, gold), grade_exact(answer, gold)};
  }

 private:
  Example example_of(const DataRow& row, size_t number) const {
    const JsonFields fields(row.fields, row.where);
    Example out;
    out.id = fields.find(id_) ? text_of(fields, id_) : fmt::format("item-{}", number);
    out.messages = {{.role = "user", .content = fields.text(prompt_)}};
    out.reference = text_of(fields, answer_);
    if (fields.find(category_)) out.category = text_of(fields, category_);
    if (fields.find(options_))
      for (const auto& option : fields.array(options_)) {
        if (!option.is_string()) throw input_error("{}: expected a list of texts, got {}", fields.at(options_), option.type_name());
        out.options.push_back(option.get<std::string>());
      }
    if (rule_ == "choice" && (out.reference.size() != 1 || out.reference[0] < 'A' || out.reference[0] > 'Z'))
      throw input_error("{}: the answer of a choice is a capital letter, got '{}'", fields.at(answer_), out.reference.substr(0, 40));
    return out;
  }
  /// A text, or a number as a text.
  static std::string text_of(const JsonFields& fields, const std::string& key) {
    const Json& value = fields.need(key);
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number()) return json_text(value);
    throw input_error("{}: expected a text or a number, got {}", fields.at(key), value.type_name());
  }

  std::string path_, prompt_, answer_, options_, category_, id_, rule_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "jsonl",
    .summary = "questions with answers, one JSON object a line, graded by the rule you name",
    .source = "ours",
    .aliases = {},
    .parameters = {required_text_param("file", "JSON lines (.jsonl, .jsonl.gz), CSV or Parquet"), text_param("prompt", "prompt", "field with the text that is asked, as it is"),
                   text_param("answer", "answer", "field with the right answer: text or number"),
                   text_param("rule", "exact", "exact: the whole answer is the reference; choice: a letter; integer: 0 to 999; math: an expression", {"exact", "choice", "integer", "math"}),
                   text_param("options", "options", "field with the list of options, where there is one: says which letters exist"),
                   text_param("category", "category", "field with the category, where there is one"), text_param("id", "id", "field with the id, where there is one (else item-1, ...)"),
                   grader_param()},
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Jsonl>(options); }});

}  // namespace
}  // namespace canvaslab
