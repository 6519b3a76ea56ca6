#include "eval/graded.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "core/digest.h"
#include "core/error.h"
#include "eval/records.h"

namespace canvaslab {
namespace {

/// Raised when a change of the graders alters scores: part of what results were made with.
constexpr int kGraderVersion = 1;

/// Every rule that can fire, "none" first. Places in this list are stored: add at the end.
constexpr std::array<std::string_view, 17> kRules = {"none", "answer_is", "answer_colon", "last_letter", "boxed", "boxed_earlier", "final_line", "parenthesised", "option_text",
                                                     "colon", "last_integer", "dollars", "whole_text", "letter", "number", "phrase", "code_block"};

double rule_number(const grading::Extraction& extraction) {
  if (!extraction.found()) return 0;
  const auto at = std::find(kRules.begin(), kRules.end(), extraction.rule);
  if (at == kRules.end()) throw std::logic_error("a grader's rule has no number: " + std::string(extraction.rule));
  return static_cast<double>(at - kRules.begin());
}

std::vector<std::string> rule_names() { return {kRules.begin(), kRules.end()}; }

std::vector<std::string> verdict_names() {
  std::vector<std::string> out;
  for (int v = 0; v <= static_cast<int>(grading::Verdict::kInfraError); ++v) out.emplace_back(grading::verdict_name(static_cast<grading::Verdict>(v)));
  return out;
}

}  // namespace

Grade graded(grading::Extraction extraction, bool correct) { return {.extraction = std::move(extraction), .score = correct ? 1.0 : 0.0}; }

ParamSpec grader_param() { return text_param("grader", "house", "whose verdict is the score: ours, or the published code's (the other is a metric)", {"house", "official"}); }

GradedDataset::GradedDataset(const Options& options, std::vector<std::string> files, std::string identity) : official_counts_(options.text("grader") == "official") {
  PluginExpr settings = parse_plugin(options.canonical());
  // Paths say nothing about content; a template's text and an interpreter's version are part of the identity.
  std::erase_if(settings.arguments, [&](const auto& argument) { return argument.key == "template" || argument.key == "python" || std::find(files.begin(), files.end(), argument.key) != files.end(); });
  settings_ = settings.text() + (identity.empty() ? "" : " " + identity);
  for (const auto& key : files)
    if (!options.text(key).empty()) files_.push_back(options.text(key));
}

std::vector<Example> GradedDataset::load() const {
  auto out = read();
  if (out.empty()) throw input_error("{}: holds no items", files_.front());
  std::set<std::string_view> ids;
  for (const auto& example : out)
    if (!ids.insert(example.id).second) throw input_error("{}: the id '{}' occurs twice; remove one of the two rows", files_.front(), example.id);
  return out;
}

std::string GradedDataset::content_hash() const {
  std::string out = fmt::format("{} grading {}", settings_, kGraderVersion);
  for (const auto& file : files_) out += " sha256=" + data_identity(file);
  return out;
}

ScoreFacts GradedDataset::score_facts() const {
  const std::string share = "share of items";
  ScoreFacts out{.name = "accuracy",
                 .unit = share,
                 .higher_is_better = true,
                 .metrics = {{.name = "verdict", .unit = "", .higher_is_better = true, .names = verdict_names()},
                             {.name = "rule", .unit = "", .higher_is_better = true, .names = rule_names()},
                             {.name = official_counts_ ? "accuracy_house" : "accuracy_official", .unit = share},
                             {.name = official_counts_ ? "rule_house" : "rule_official", .unit = "", .higher_is_better = true, .names = rule_names()},
                             {.name = "accuracy_salvaged", .unit = share + ", unclosed thoughts read as answers"},
                             {.name = "accuracy_not_truncated", .unit = share + " that ended by themselves"},
                             {.name = "truncated", .unit = share, .higher_is_better = false},
                             {.name = "thought_unclosed", .unit = share, .higher_is_better = false},
                             {.name = "loop", .unit = share, .higher_is_better = false},
                             {.name = "num_thought_tokens", .unit = "tokens", .higher_is_better = false},
                             {.name = "num_answer_tokens", .unit = "tokens", .higher_is_better = false},
                             {.name = "num_shots", .unit = "worked examples in the prompt"}},
                 .texts = {"extracted", official_counts_ ? "extracted_house" : "extracted_official"},
                 .is_quality = true};
  if (const auto names = outcome_names(); !names.empty())
    for (const char* name : {"outcome", official_counts_ ? "outcome_house" : "outcome_official"}) out.metrics.push_back({.name = name, .unit = "", .higher_is_better = true, .names = names});
  return out;
}

std::vector<std::string> GradedDataset::texts(const Example& example, std::span<const int32_t> tokens, const Denoiser& /*denoiser*/) const {
  Grades grades = extract(example, grading::split_answer(tokens, decoder_).answer);
  if (official_counts_) std::swap(grades.house, grades.official);
  return {grades.house.extraction.text, grades.official.extraction.text};
}

Score GradedDataset::score(const Example& example, std::span<const int32_t> tokens, const Denoiser& /*denoiser*/) const {
  const grading::SplitAnswer split = grading::split_answer(tokens, decoder_);
  Grades grades = grade(example, split.answer);
  if (official_counts_) std::swap(grades.house, grades.official);
  const auto& [counted, other] = grades;
  double salvaged = counted.score;
  if (split.thought_unclosed) {
    const Grades rescued = grade(example, split.thought);
    salvaged = official_counts_ ? rescued.official.score : rescued.house.score;
  }
  const auto verdict = grading::verdict_of(split, counted.score == 1, counted.extraction.found());
  const auto flag = [](bool set) { return set ? 1.0 : 0.0; };
  Score out{.value = counted.score,
            .metrics = {static_cast<double>(verdict), rule_number(counted.extraction), other.score, rule_number(other.extraction), salvaged,
                        split.truncated ? std::numeric_limits<double>::quiet_NaN() : counted.score, flag(split.truncated), flag(split.thought_unclosed), flag(ends_in_loop(tokens)),
                        static_cast<double>(split.num_thought_tokens), static_cast<double>(split.num_answer_tokens),
                        static_cast<double>(example.num_shots)},
            .texts = {counted.extraction.text, other.extraction.text}};
  if (!outcome_names().empty()) out.metrics.insert(out.metrics.end(), {counted.outcome, other.outcome});
  return out;
}

bool ends_in_loop(std::span<const int32_t> tokens) {
  for (size_t period = 1; period <= 128; ++period) {
    const size_t needed = std::max<size_t>(32, 4 * period);
    if (needed > tokens.size()) continue;
    const auto tail = tokens.last(needed);
    if (std::equal(tail.begin() + static_cast<ptrdiff_t>(period), tail.end(), tail.begin())) return true;
  }
  return false;
}

}  // namespace canvaslab
