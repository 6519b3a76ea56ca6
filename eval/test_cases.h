#pragma once
// Test cases of programming problems.
#include <string>
#include <string_view>
#include <vector>

#include "eval/rows.h"

namespace canvaslab {

struct TestCase {
  std::string input, output;
};

/// What grading a LiveCodeBench item needs.
struct ProgramTests {
  std::vector<TestCase> cases;      ///< public ones first, then private ones
  std::string function;             ///< called with each input; empty: the program reads standard input
};

/// Decodes one row of a LiveCodeBench file: private tests are JSON, or JSON that is pickled, compressed and base64.
/// Errors: input naming the row's field; also for an item without any test, which published code scores as passed.
ProgramTests program_tests_of(const DataRow& row);

}  // namespace canvaslab
