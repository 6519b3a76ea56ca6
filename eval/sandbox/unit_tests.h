#pragma once
// Judging a function by unit tests in Python, as HumanEval has them.
#include "eval/sandbox/verdict.h"

namespace canvaslab {

/// Two sandboxes: one runs the tests, the other the candidate; calls and values go between them through us. The candidate
/// never meets the tests, so it can neither read what they expect nor answer for them.
struct UnitTests {
  std::string prompt;          ///< what the tests find besides the candidate, run before them
  std::string tests;           ///< defines check(candidate)
  std::string entry;           ///< the candidate's name in the program
  double timeout_seconds = 3;  ///< of computing; three times as long by the clock
  int64_t memory_bytes = int64_t{4} << 30;
};

/// Errors: std::runtime_error when a sandbox failed: no verdict on the program.
/// Source: openai/human-eval execution.py, which runs both in one process.
ProgramVerdict judge_unit_tests(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const UnitTests& tests);

}  // namespace canvaslab
