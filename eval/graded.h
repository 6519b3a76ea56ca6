#pragma once
// Data sets whose answers are graded: what their scores share, whatever the question.
#include <string>
#include <string_view>
#include <vector>

#include "eval/dataset.h"
#include "eval/grading/answer.h"
#include "eval/grading/scan.h"

namespace canvaslab {

/// One grader's reading of an answer.
struct Grade {
  grading::Extraction extraction;
  double score = 0;    ///< 1 right, 0 wrong; between them only what a fallback credits
  double outcome = 0;  ///< place in outcome_names(), where there are any
};

Grade graded(grading::Extraction extraction, bool correct);

/// Our rule and the published one on the same answer.
struct Grades {
  Grade house, official;
};

/// Splits thought from answer on token ids, grades by both rules, keeps the verdict and which rule fired.
/// The score is strict: a thought that never closes has no answer. The salvaged score reads the thought in that case.
class GradedDataset : public Dataset {
 public:
  /// `files`: the parameters that name data files; their content is part of the identity, their paths are not.
  /// `identity`: what else prompts and grades depend on, such as a template's text. `options` has a grader_param().
  GradedDataset(const Options& options, std::vector<std::string> files, std::string identity = "");
  /// For questions that are made, not read: there are no files and no published rule, and `settings` is the whole identity.
  explicit GradedDataset(std::string settings) : official_counts_(false), settings_(std::move(settings)) {}
  void use_text(grading::TextDecoder decoder) final { decoder_ = std::move(decoder); }
  std::vector<Example> load() const final;
  ScoreFacts score_facts() const final;
  Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const final;
  std::vector<std::string> texts(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const final;
  std::string content_hash() const override;

 protected:
  /// The examples as the files have them. Their ids are checked by load().
  virtual std::vector<Example> read() const = 0;
  virtual Grades grade(const Example& example, std::string_view answer) const = 0;
  /// Grades without scores and outcomes, where reading an answer costs less than judging it.
  virtual Grades extract(const Example& example, std::string_view answer) const { return grade(example, answer); }
  /// What an answer can come to, beyond right and wrong: a metric for each grader.
  virtual std::vector<std::string> outcome_names() const { return {}; }
  const grading::TextDecoder& text() const { return decoder_; }

 private:
  grading::TextDecoder decoder_;
  bool official_counts_;
  std::string settings_;            ///< canonical text without files, and the identity
  std::vector<std::string> files_;  ///< paths
};

/// grader=house|official: whose verdict is the score. The other's is a metric.
ParamSpec grader_param();

/// Whether the end of a text goes round in circles: its last tokens repeat one stretch of at most 128 tokens at least four
/// times, over 32 tokens or more.
bool ends_in_loop(std::span<const int32_t> tokens);

}  // namespace canvaslab
