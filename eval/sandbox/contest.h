#pragma once
// Judging contest programs by inputs and expected outputs, which stay with us.
#include "eval/sandbox/verdict.h"
#include "eval/test_cases.h"

namespace canvaslab {

/// compat: as LiveCodeBench's own runner, idiosyncrasies included: one process for all tests, the program's statements inside
/// a function, a stand-in for standard input. What it cannot share is that there a program could read or forge its verdict.
/// strict: a fresh process for each test; a program that reads standard input runs as python runs it.
enum class ContestGrader { kCompat, kStrict };
std::string_view contest_grader_name(ContestGrader grader);

struct ContestLimits {
  double timeout_seconds = 6;  ///< of a test. strict: of computing, three times as much by the clock; compat: by the clock, rounded up
  int64_t memory_bytes = int64_t{4} << 30;
};

/// Tests in order, up to the first that fails.
/// Errors: std::runtime_error when the sandbox failed: no verdict on the program. input when a function's expected output is no JSON.
/// Source: LiveCodeBench lcb_runner/evaluation (evaluation.md 2.2, 2.3).
ProgramVerdict judge_contest(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const ProgramTests& tests, ContestGrader grader, const ContestLimits& limits = {});

}  // namespace canvaslab
