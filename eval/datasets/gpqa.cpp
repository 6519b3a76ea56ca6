// gpqa - GPQA: four options, graduate-level biology, physics, chemistry. Idavidrein/gpqa, CC-BY-4.0, gated: items are not
// to be published in plain text, and nothing here prints them.
// Published prompts and rules: openai/simple-evals gpqa_eval.py, lm-evaluation-harness gpqa v2.2 (evaluation.md 1.2).
#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/grading/choice.h"
#include "eval/grading/option_order.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

struct Question {
  std::string id, text, domain;
  std::vector<std::string> options;  ///< the right one first, then the wrong ones in the file's order
};

std::vector<Question> questions_of(const std::string& path) {
  std::vector<Question> out;
  read_rows(path, [&](const DataRow& row) {
    const JsonFields fields(row.fields, row.where);
    Question question{.id = fields.text("Record ID"), .text = fields.text("Question"), .domain = fields.text("High-level domain"), .options = {}};
    for (const char* column : {"Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"}) question.options.push_back(fields.text(column));
    if (question.id.empty()) throw input_error("{}: the record id is empty", fields.at("Record ID"));
    out.push_back(std::move(question));
  });
  return out;
}

class Gpqa final : public GradedDataset {
 public:
  explicit Gpqa(const Options& options) : Gpqa(options, PromptTemplate("gpqa", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    const auto questions = questions_of(path_);
    grading::PythonRandom python(0);
    std::vector<Example> out;
    for (uint32_t turn = 0; turn < turns_; ++turn)  // the published code repeats the whole list, and draws in that order
      for (const auto& question : questions)
        out.push_back(example_of(question, turn, python_order_ ? python.sample_all(4) : grading::rotated_order(seed_, question.id, turn, 4)));
    return out;
  }

  Grades grade(const Example& example, std::string_view answer) const override {
    auto house = grading::gpqa_house(answer, 4);
    const bool right = house.text == example.reference;
    if (published_ == "simple_evals") {
      auto official = grading::gpqa_simple_evals(answer);
      const bool same = official.text == example.reference;
      return {graded(std::move(house), right), graded(std::move(official), same)};
    }
    auto official = grading::gpqa_lm_eval(answer, example.options);
    const bool same = official.text == "(" + example.reference + ")";
    return {graded(std::move(house), right), graded(std::move(official), same)};
  }

 private:
  Gpqa(const Options& options, PromptTemplate words)
      : GradedDataset(options, {"file"}, words.identity()), path_(options.text("file")), published_(options.text("published")), template_(std::move(words)),
        python_order_(options.text("order") == "simple_evals"), seed_(static_cast<uint64_t>(options.integer("seed"))), turns_(static_cast<uint32_t>(options.integer("rotations"))) {}

  Example example_of(const Question& question, uint32_t turn, const std::vector<size_t>& order) const {
    Example out;
    out.id = turns_ == 1 ? question.id : fmt::format("{}/{}", question.id, turn), out.category = question.domain;
    if (turns_ > 1) out.group = question.id;
    for (const size_t place : order) out.options.push_back(question.options[place]);
    // The first equal text wins, as in the published code.
    const auto gold = std::find(out.options.begin(), out.options.end(), question.options[0]) - out.options.begin();
    out.reference = std::string(1, static_cast<char>('A' + gold));
    out.messages = {{.role = "user", .content = asked(question, out.options)}};
    return out;
  }

  std::string asked(const Question& question, const std::vector<std::string>& options) const {
    if (template_.known() == "simple_evals")
      return filled(template_.text(), {{"Question", question.text}, {"A", options[0]}, {"B", options[1]}, {"C", options[2]}, {"D", options[3]}});
    if (!template_.is_house() && template_.known().empty())
      return filled(template_.text(), {{"question", question.text}, {"options", lettered(options, "", ")")}, {"category", ""}});
    if (!template_.is_house()) throw usage_error("data set 'gpqa': the published text '{}' is known, but how it is filled in is not written yet; use simple_evals' or your own", template_.known());
    return fmt::format("Work out the question below, then finish with a line `Answer: X` where X is the letter of the right option.\n\n{}\n\n{}", question.text, lettered(options, "", ")"));
  }

  std::string path_, published_;
  PromptTemplate template_;
  bool python_order_;
  uint64_t seed_;
  uint32_t turns_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "gpqa",
    .summary = "GPQA: four options, graduate-level science",
    .source = "Idavidrein/gpqa; arXiv 2311.12022; evaluation.md 1.2",
    .aliases = {"gpqa_diamond"},
    .parameters = {required_text_param("file", "gpqa_diamond.csv (or main, extended), or records of canvaslab data convert"),
                   text_param("order", "rotated", "of the options: rotated (a random order per item, turned on by one place a rotation), or simple_evals (Python's generator, seed 0)",
                              {"rotated", "simple_evals"}),
                   int_param("rotations", 1, 1, 24, "orders", "how often each question is asked, each time in another order; 4 cancel a liking for a letter"),
                   int_param("seed", 1, 0, 9e15, "", "of rotated orders"), template_param(), grader_param(),
                   text_param("published", "simple_evals", "which published rule: simple-evals, or lm-evaluation-harness' flexible-extract", {"simple_evals", "lm_eval"})},
    .facts = {.needs_source = false,
              .needs_text = true,
              .files = {.columns = {"Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Subdomain", "High-level domain", "Record ID"},
                        .category_column = "High-level domain",
                        .obtain = "https://huggingface.co/datasets/Idavidrein/gpqa (log in and accept its terms), or the zip in github.com/idavidrein/gpqa",
                        .terms = "CC-BY-4.0, gated: do not publish items in plain text",
                        .known = {{.name = "gpqa_diamond.csv", .num_rows = 198}, {.name = "gpqa_main.csv", .num_rows = 448}, {.name = "gpqa_extended.csv", .num_rows = 546}}}},
    .make = [](const Options& options) { return std::make_unique<Gpqa>(options); }});

}  // namespace
}  // namespace canvaslab
