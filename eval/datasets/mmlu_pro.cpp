// mmlu_pro - MMLU-Pro: multiple choice with up to ten options in 14 subjects. TIGER-Lab/MMLU-Pro, MIT.
// Published prompts and rules: TIGER-AI-Lab/MMLU-Pro evaluate_from_local.py (evaluation.md 1.1).
#include <map>
#include <span>

#include "core/error.h"
#include "core/philox.h"
#include "core/text/json_fields.h"
#include "eval/graded.h"
#include "eval/grading/choice.h"
#include "eval/grading/option_order.h"
#include "eval/prompt_template.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

/// A row of the file.
struct Question {
  std::string id, text, category, answer, worked;  ///< worked: the solution of a validation row
  std::vector<std::string> options;
};

Question question_of(const DataRow& row) {
  const JsonFields fields(row.fields, row.where);
  Question out{.id = std::to_string(fields.integer("question_id")), .text = fields.text("question"), .category = fields.text("category"), .answer = fields.text("answer"),
               .worked = fields.text_or("cot_content", ""), .options = {}};
  for (const auto& option : fields.array("options")) {
    if (!option.is_string()) throw input_error("{}: expected a list of texts, got {}", fields.at("options"), option.type_name());
    // Older revisions pad with N/A. White space at the start stood only at right answers: a leak.
    if (option != "N/A") out.options.emplace_back(grading::strip(option.get<std::string>()));
  }
  const int64_t index = fields.integer("answer_index");
  if (out.options.size() < 2 || out.options.size() > 10) throw input_error("{}: expected 2 to 10 options, got {}", fields.at("options"), out.options.size());
  if (index < 0 || static_cast<size_t>(index) >= out.options.size() || out.answer != std::string(1, static_cast<char>('A' + index)))
    throw input_error("{}: answer '{}' and answer_index {} do not name one of {} options", fields.at("answer"), out.answer.substr(0, 8), index, out.options.size());
  return out;
}

std::vector<Question> questions_of(const std::string& path) {
  std::vector<Question> out;
  read_rows(path, [&](const DataRow& row) { out.push_back(question_of(row)); });
  return out;
}

constexpr std::string_view kStem = "Let's think step by step.";

/// The published layout of a question; with `solved`, its worked solution follows.
std::string published_block(const Question& question, bool solved) {
  std::string out = fmt::format("Question:\n{}\nOptions:\n{}\nAnswer: ", question.text, lettered(question.options, "", "."));
  if (!solved) return out + std::string(kStem);
  const std::string start = fmt::format("A: {}", kStem);  // how cot_content begins
  return out + (question.worked.starts_with(start) ? question.worked.substr(3) : question.worked) + "\n\n";
}

class MmluPro final : public GradedDataset {
 public:
  explicit MmluPro(const Options& options)
      : MmluPro(options, PromptTemplate("mmlu_pro", options.text("template"))) {}

 protected:
  std::vector<Example> read() const override {
    std::map<std::string, std::vector<Question>> shots;
    if (num_shots_ > 0)
      for (auto& question : questions_of(validation_)) shots[question.category].push_back(std::move(question));
    std::vector<Example> out;
    for (const auto& question : questions_of(path_)) {
      const auto& worked = shots[question.category];
      if (worked.size() < static_cast<size_t>(num_shots_))
        throw input_error("{}: {} worked examples of '{}' are wanted, and there are {}; ask for fewer shots", validation_, num_shots_, question.category, worked.size());
      out.push_back(example_of(question, std::span(worked).first(static_cast<size_t>(num_shots_))));
    }
    return out;
  }

  Grades grade(const Example& example, std::string_view answer) const override {
    auto house = grading::mmlu_pro_house(answer, example.options.size());
    auto official = published_ == "lm_eval" ? grading::mmlu_pro_lm_eval(answer) : published_ == "last" ? grading::mmlu_pro_official_last(answer) : grading::mmlu_pro_official(answer);
    return {credited(std::move(house), example), credited(std::move(official), example)};
  }

 private:
  MmluPro(const Options& options, PromptTemplate words)
      : GradedDataset(options, {"file", "validation"}, words.identity()), path_(options.text("file")), validation_(options.text("validation")), template_(std::move(words)),
        published_(options.text("published")), num_shots_(options.integer("shots")), most_tokens_(options.integer("max_prompt_tokens")), turns_(options.text("placement") == "turns"),
        fallback_(options.text("fallback") == "none" ? grading::Fallback::kNone : options.text("fallback") == "uniform_seeded" ? grading::Fallback::kUniformSeeded : grading::Fallback::kExpectedValue),
        seed_(static_cast<uint64_t>(options.integer("seed"))) {
    if (num_shots_ > 0 && validation_.empty()) throw usage_error("data set 'mmlu_pro': shots={} needs validation=FILE, the file with worked solutions", num_shots_);
  }

  /// Right, wrong, or what the fallback gives an answer without a letter.
  Grade credited(grading::Extraction extraction, const Example& example) const {
    if (extraction.found()) {
      const bool right = extraction.text == example.reference;
      return graded(std::move(extraction), right);
    }
    const DrawKey key{.seed = seed_, .item = static_cast<uint64_t>(std::stoll(example.id))};
    const size_t draw = key.below(static_cast<uint32_t>(example.options.size()), Purpose::kPrompt, 0);
    return {.extraction = {}, .score = grading::fallback_score(fallback_, static_cast<size_t>(example.reference[0] - 'A'), example.options.size(), draw)};
  }

  /// Takes worked examples away, the last first, until the prompt is short enough.
  Example example_of(const Question& question, std::span<const Question> shots) const {
    Example out;
    out.id = question.id, out.category = question.category, out.reference = question.answer, out.options = question.options;
    while (true) {
      out.messages = messages_of(question, shots);
      out.num_shots = static_cast<int32_t>(shots.size());
      if (most_tokens_ == 0 || shots.empty() || !text().count_tokens) return out;
      size_t tokens = 0;
      for (const auto& turn : out.messages) tokens += text().count_tokens(turn.content);
      if (tokens < static_cast<size_t>(most_tokens_)) return out;
      shots = shots.first(shots.size() - 1);
    }
  }

  std::vector<ChatMessage> messages_of(const Question& question, std::span<const Question> shots) const {
    if (template_.known() == "initial_prompt") {
      std::string prompt = grading::replace_all(template_.text(), "{$}", question.category) + "\n";
      for (const auto& shot : shots) prompt += published_block(shot, true);
      return {{.role = "user", .content = prompt + published_block(question, false)}};
    }
    std::vector<ChatMessage> out;
    std::string before;
    for (const auto& shot : shots) {
      if (turns_) out.push_back({.role = "user", .content = asked(shot)}), out.push_back({.role = "assistant", .content = shot.worked});
      else before += asked(shot) + "\n\n" + shot.worked + "\n\n";
    }
    out.push_back({.role = "user", .content = before + asked(question)});
    return out;
  }

  std::string asked(const Question& question) const {
    const std::string options = lettered(question.options, "", ".");
    if (!template_.is_house()) return filled(template_.text(), {{"question", question.text}, {"options", options}, {"category", question.category}});
    return fmt::format("This is a multiple-choice question on {}. Work it out, then finish with a line `The answer is (X)` where X is the letter of your choice.\n\n{}\n{}", question.category,
                       question.text, options);
  }

  std::string path_, validation_;
  PromptTemplate template_;
  std::string published_;
  int64_t num_shots_, most_tokens_;
  bool turns_;
  grading::Fallback fallback_;
  uint64_t seed_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "mmlu_pro",
    .summary = "MMLU-Pro: multiple choice, up to ten options, 14 subjects",
    .source = "TIGER-Lab/MMLU-Pro; arXiv 2406.01574; evaluation.md 1.1",
    .aliases = {},
    .parameters = {required_text_param("file", "test file: Parquet as published, or records of canvaslab data convert"), text_param("validation", "", "file with worked solutions, for shots"),
                   int_param("shots", 0, 0, 5, "examples", "worked examples of the same subject before the question"),
                   text_param("placement", "single", "where they stand: in one user turn, or as turns of their own", {"single", "turns"}),
                   int_param("max_prompt_tokens", 0, 0, 1e6, "tokens", "examples are left out, the last first, until prompts are shorter; 0: never (the published code: 2048)"), template_param(),
                   grader_param(), text_param("published", "local", "which published rule: evaluate_from_local.py, apiX (last matches), or lm-evaluation-harness", {"local", "last", "lm_eval"}),
                   text_param("fallback", "none", "what an answer without a letter counts: nothing, a drawn option, or its expectation", {"none", "uniform_seeded", "expected_value"}),
                   int_param("seed", 1, 0, 9e15, "", "of drawn fallbacks")},
    .facts = {.needs_source = false,
              .needs_text = true,
              .files = {.columns = {"question_id", "question", "options", "answer", "answer_index", "cot_content", "category", "src"},
                        .category_column = "category",
                        .obtain = "https://huggingface.co/datasets/TIGER-Lab/MMLU-Pro",
                        .terms = "MIT; no terms to accept",
                        .known = {{.name = "data/test-00000-of-00001.parquet",
                                   .num_rows = 12032,
                                   .categories = {{"math", 1351}, {"physics", 1299}, {"chemistry", 1132}, {"law", 1101}, {"engineering", 969}, {"other", 924}, {"economics", 844},
                                                  {"health", 818}, {"psychology", 798}, {"business", 789}, {"biology", 717}, {"philosophy", 499}, {"computer science", 410}, {"history", 381}}},
                                  {.name = "data/validation-00000-of-00001.parquet", .num_rows = 70}}}},
    .make = [](const Options& options) { return std::make_unique<MmluPro>(options); }});

}  // namespace
}  // namespace canvaslab
