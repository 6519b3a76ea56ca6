// math_vision - MATH-Vision: problems about a picture, free-form or with five options. MathLLMs/MathVision, MIT.
// Published prompts and checker: mathllm/MATH-V models/*.py, evaluation/ (evaluation.md 1.5). The text side alone: no
// denoiser here takes pictures yet.
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/grading/math.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

class MathVision final : public GradedDataset {
 public:
  explicit MathVision(const Options& options) : MathVision(options, PromptTemplate("math_vision", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    size_t left_out = 0;
    read_rows(path_, [&](const DataRow& row) {
      const JsonFields fields(row.fields, row.where);
      const std::string question = fields.text("question");
      const bool shows_picture = question.find("<image") != std::string::npos;
      if (shows_picture && images_ == "error")
        throw input_error("{}: the question is about a picture ({}), and the denoisers here take none yet\nimages=skip takes the items whose text names no picture; images=ignore asks about all "
                          "of them unseen, which is not the benchmark", fields.at("question"), fields.text_or("image", "no path"));
      if (shows_picture && images_ == "skip") ++left_out;
      else out.push_back(example_of(fields, question));
    });
    if (out.empty()) throw input_error("{}: all {} questions are about pictures; images=ignore asks them unseen, which is not the benchmark", path_, left_out);
    return out;
  }

  Grades grade(const Example& example, std::string_view answer) const override {
    const auto right = [&](const grading::Extraction& found) { return grading::math_vision_correct(found.text, example.reference, example.options); };
    auto house = grading::math_house(answer), official = grading::math_vision_official(answer);
    const bool ours = right(house), theirs = right(official);
    return {graded(std::move(house), ours), graded(std::move(official), theirs)};
  }

 private:
  MathVision(const Options& options, PromptTemplate words)
      : GradedDataset(options, {"file"}, words.identity()), path_(options.text("file")), images_(options.text("images")), template_(std::move(words)) {}

  Example example_of(const JsonFields& fields, const std::string& question) const {
    Example out;
    const Json& id = fields.need("id");
    out.id = id.is_string() ? id.get<std::string>() : json_text(id);
    out.reference = fields.text("answer");  // as it is: some are dirty, and the published scores were made with them
    out.category = fields.text("subject");
    for (const auto& option : fields.array("options")) {
      if (!option.is_string()) throw input_error("{}: expected a list of texts, got {}", fields.at("options"), option.type_name());
      out.options.push_back(option.get<std::string>());
    }
    if (!out.options.empty() && out.options.size() != 5) throw input_error("{}: expected none or five options, got {}", fields.at("options"), out.options.size());
    out.messages = {{.role = "user", .content = asked(question, out)}};
    return out;
  }

  std::string asked(const std::string& question, const Example& example) const {
    const bool letters_only = example.options == std::vector<std::string>{"A", "B", "C", "D", "E"};  // the options stand in the picture
    const std::string options = example.options.empty() || letters_only ? "" : lettered(example.options, "(", ")");
    if (!template_.is_house() && template_.known().empty()) return filled(template_.text(), {{"question", question}, {"options", options}, {"category", example.category}});
    const std::string prefix =
        template_.is_house() ? "Solve the problem about the picture. Put the final result in one \\boxed{}; if options are listed, put only the letter there." : template_.text();
    return prefix + "\n" + question + (options.empty() ? "" : "\n" + options);
  }

  std::string path_, images_;
  PromptTemplate template_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "math_vision",
    .summary = "MATH-Vision: mathematics about pictures; the text side alone",
    .source = "MathLLMs/MathVision; arXiv 2402.14804; evaluation.md 1.5",
    .aliases = {"math_v"},
    .parameters = {required_text_param("file", "Parquet or JSON lines as published, or records of canvaslab data convert"),
                   text_param("images", "error", "what becomes of a question about a picture: error; skip leaves it out; ignore asks it unseen", {"error", "skip", "ignore"}), template_param(),
                   grader_param()},
    .facts = {.needs_source = false,
              .needs_text = true,
              .files = {.columns = {"id", "question", "options", "answer", "level", "subject", "image"},
                        .category_column = "subject",
                        .obtain = "https://huggingface.co/datasets/MathLLMs/MathVision, or data/*.jsonl and images/ of github.com/mathllm/MATH-V",
                        .terms = "MIT; no terms to accept",
                        .reading_options = ", images=ignore",
                        .known = {{.name = "data/test-00000-of-00001-3532b8d3f1b4047a.parquet or data/test.jsonl",
                                   .num_rows = 3040,
                                   .categories = {{"metric geometry - area", 500}, {"metric geometry - length", 449}, {"metric geometry - angle", 173}, {"algebra", 345}, {"combinatorial geometry", 308},
                                                  {"solid geometry", 244}, {"transformation geometry", 168}, {"combinatorics", 168}, {"arithmetic", 140}, {"logic", 119},
                                                  {"descriptive geometry", 104}, {"graph theory", 90}, {"analytic geometry", 84}, {"counting", 67}, {"statistics", 58}, {"topology", 23}}},
                                  {.name = "data/testmini-00000-of-00001-f8ff70fcb2f29b1d.parquet or data/testmini.jsonl", .num_rows = 304}}}},
    .make = [](const Options& options) { return std::make_unique<MathVision>(options); }});

}  // namespace
}  // namespace canvaslab
