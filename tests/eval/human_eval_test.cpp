// human_eval: real problems with their canonical solutions, where the published file is (CANVASLAB_HUMAN_EVAL), and problems
// of our own everywhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/json.h"
#include "eval/dataset.h"
#include "eval/rows.h"
#include "eval/sandbox/unit_tests.h"
#include "tests/support/ascii_text.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// A value that is certainly another: what a mutated solution returns.
constexpr const char* kOtherValue = R"(

def _other(value):
    if isinstance(value, bool): return not value
    if isinstance(value, (int, float)): return value + 1
    if isinstance(value, str): return value + "?"
    if isinstance(value, tuple): return value + (0,)
    if isinstance(value, list): return value + [0]
    if isinstance(value, dict): return {**value, "?": 0}
    return 0
_right = {0}
def {0}(*arguments): return _other(_right(*arguments))
)";

std::string mutated(const std::string& solution, const std::string& entry) {
  std::string tail = kOtherValue;
  for (size_t at; (at = tail.find("{0}")) != std::string::npos;) tail.replace(at, 3, entry);
  return solution + tail;
}

class HumanEval : public testing::WithSandbox {};

TEST_F(HumanEval, EveryCanonicalSolutionPassesAndEveryMutatedOneFails) {
  const char* file = std::getenv("CANVASLAB_HUMAN_EVAL");
  if (!file) GTEST_SKIP() << "left out: CANVASLAB_HUMAN_EVAL names no HumanEval.jsonl.gz (./tests/run.sh --oracle fetches it)";
  struct Item {
    std::string id, prompt, solution;
    UnitTests tests;
  };
  std::vector<Item> items;
  read_rows(file, [&](const DataRow& row) {
    const auto& f = row.fields;
    items.push_back({f["task_id"], f["prompt"], f["canonical_solution"], {.prompt = f["prompt"], .tests = f["test"], .entry = f["entry_point"]}});
  });
  ASSERT_EQ(items.size(), 164u);
  std::vector<std::string> problems;
  std::mutex mutex;
  std::atomic<size_t> next{0}, passed{0}, failed{0};
  const auto work = [&] {
    for (size_t i; (i = next++) < items.size();) {
      const Item& item = items[i];
      const std::string right = item.prompt + item.solution;
      const ProgramVerdict good = judge_unit_tests(isolation_, right, item.tests), bad = judge_unit_tests(isolation_, mutated(right, item.tests.entry), item.tests);
      passed += good.passed(), failed += bad.end == ProgramEnd::kWrongAnswer;
      const std::lock_guard lock(mutex);
      if (!good.passed()) problems.push_back(fmt::format("{}: canonical: {} {}", item.id, program_end_name(good.end), good.detail));
      if (bad.end != ProgramEnd::kWrongAnswer) problems.push_back(fmt::format("{}: mutated: {} {}", item.id, program_end_name(bad.end), bad.detail));
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(passed, 164u);
  EXPECT_EQ(failed, 164u);
  EXPECT_THAT(problems, ::testing::IsEmpty());
}

}  // namespace
}  // namespace canvaslab
