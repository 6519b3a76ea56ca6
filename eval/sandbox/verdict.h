#pragma once
// What became of a program that was judged.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eval/sandbox/sandbox.h"

namespace canvaslab {

/// The order is part of stored results: add at the end.
enum class ProgramEnd { kPassed, kWrongAnswer, kRuntimeError, kTimeLimit, kMemoryLimit, kOutputLimit, kNoProgram };
std::string_view program_end_name(ProgramEnd end);
std::vector<std::string> program_end_names();

struct ProgramVerdict {
  ProgramEnd end = ProgramEnd::kNoProgram;
  size_t num_passed = 0;       ///< tests before the first that failed
  std::string detail;          ///< the program's own words or ours; for people, and never a text of a gated file
  double cpu_seconds = 0;      ///< of all sandboxes that it took
  double wall_seconds = 0;     ///< of the program's
  std::string limit;           ///< which limit fired (sandbox_end_name), or ""
  bool passed() const { return end == ProgramEnd::kPassed; }
};

/// Verdict on a program that ended by itself or by a limit where an answer was awaited.
ProgramVerdict verdict_of_end(const SandboxOutcome& outcome);

}  // namespace canvaslab
