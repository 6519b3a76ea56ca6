#pragma once
// Data sets whose answers are programs, judged by running them.
#include "eval/graded.h"
#include "eval/sandbox/verdict_cache.h"

namespace canvaslab {

/// Takes care of the sandbox, of verdicts that are known already, and of the outcome's metric.
class ProgramDataset : public GradedDataset {
 public:
  /// `options` has program_params() besides a grader_param().
  ProgramDataset(const Options& options, std::vector<std::string> files, std::string identity = "");
  std::string cannot_score() const final;
  std::string content_hash() const final;

 protected:
  Grades grade(const Example& example, std::string_view answer) const final;
  std::vector<std::string> outcome_names() const final { return program_end_names(); }
  /// What runs: the extraction names the program; nothing found: there is none.
  Grades extract(const Example& example, std::string_view answer) const override = 0;
  /// Verdict on an extracted program. Errors: std::runtime_error when none could be reached.
  virtual ProgramVerdict judge(const Example& example, const std::string& program, bool official) const = 0;
  /// A verdict from the cache, else what `judge` says. `judge_name`, `tests` and `program` are all that it depends on.
  ProgramVerdict cached(std::string_view judge_name, std::string_view tests, std::string_view program, const std::function<ProgramVerdict()>& judge) const;
  /// Errors: usage, when programs cannot be isolated here.
  std::shared_ptr<const Isolation> isolation() const { return find_isolation({.python = python_}); }
  double timeout_seconds() const { return timeout_seconds_; }
  int64_t memory_bytes() const { return memory_bytes_; }

 private:
  std::string python_;
  double timeout_seconds_;
  int64_t memory_bytes_;
};

/// python=, timeout= (default `timeout_seconds`) and memory=, in this order behind `before`.
std::vector<ParamSpec> with_program_params(std::vector<ParamSpec> before, double timeout_seconds);

}  // namespace canvaslab
