// Contest programs under both graders: the idioms in which a published runner and a plain process differ, row by row.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/json.h"
#include "eval/grading/code.h"
#include "eval/grading/contest.h"
#include "eval/sandbox/contest.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::IsEmpty;

struct Row {
  std::string name, program, compat, strict, official;
  ProgramTests tests;
};

std::vector<Row> programs() {
  std::vector<Row> out;
  read_rows(CANVASLAB_SOURCE_DIR "/tests/fixtures/grading/contest_programs.jsonl", [&](const DataRow& row) {
    const Json& f = row.fields;
    Row one{f["name"], f["program"], f["compat"], f["strict"], f["official"], {.cases = {}, .function = f["function"]}};
    for (const auto& test : f["cases"]) one.tests.cases.push_back({test[0], test[1]});
    out.push_back(std::move(one));
  });
  return out;
}

class Contest : public testing::WithSandbox {
 protected:
  /// Rows on which a grader does not say what the table says. Limits of two seconds: some rows run into them.
  std::vector<std::string> differences(ContestGrader grader) const {
    const auto rows = programs();
    std::vector<std::string> out(rows.size());
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i; (i = next++) < rows.size();) {
        if (rows[i].name.starts_with("writing a file") && !isolation_->limits_memory_of_all) {
          ++left_out_;  // no scratch folder then
          continue;
        }
        const std::string& wanted = grader == ContestGrader::kCompat ? rows[i].compat : rows[i].strict;
        const ProgramVerdict verdict = judge_contest(isolation_, rows[i].program, rows[i].tests, grader, {.timeout_seconds = 2, .memory_bytes = int64_t{1} << 30});
        if (program_end_name(verdict.end) != wanted) out[i] = fmt::format("{}: {}, not {} ({})", rows[i].name, program_end_name(verdict.end), wanted, verdict.detail);
      }
    };
    std::thread other(work);
    work();
    other.join();
    std::erase(out, "");
    return out;
  }
  void TearDown() override {
    if (left_out_ > 0) std::printf("left out: %zu programs that write files, for want of control groups\n", left_out_.load());
    EXPECT_TRUE(left_out_ == 0 || !isolation_->limits_memory_of_all);
  }
  mutable std::atomic<size_t> left_out_{0};
};

TEST_F(Contest, CompatSaysWhatTheTableSays) { EXPECT_THAT(differences(ContestGrader::kCompat), IsEmpty()); }
TEST_F(Contest, StrictSaysWhatTheTableSays) { EXPECT_THAT(differences(ContestGrader::kStrict), IsEmpty()); }

TEST(ContestTable, TheTwoGradersDifferInSomeRowsAndCompatDiffersFromThePublishedRunnerOnlyWhereItMayNotBeFollowed) {
  size_t differ = 0;
  std::vector<std::string> not_followed;
  for (const Row& row : programs()) {
    differ += row.compat != row.strict;
    if ((row.compat == "passed") != (row.official == "passed")) not_followed.push_back(row.name);
  }
  EXPECT_GE(differ, 20u);
  EXPECT_THAT(not_followed, ::testing::ElementsAre("an object whose __eq__ is always true", "an int whose __eq__ is always true", "the expected output from an outer frame",
                                                   "signal.alarm(0), then long work"));
}

TEST(ContestTable, ThePublishedRunnerSaysWhatItsColumnSays) {
  const char *runner = std::getenv("CANVASLAB_LCB_RUNNER"), *python = std::getenv("CANVASLAB_PYTHON");
  if (!runner || !python) GTEST_SKIP() << "left out: CANVASLAB_LCB_RUNNER names no testing_util.py of LiveCodeBench, or CANVASLAB_PYTHON no Python with numpy";
  const std::string folder = CANVASLAB_SOURCE_DIR "/tests/";
  const ShellResult run = shell(fmt::format("'{}' {}eval/contest_oracle.py '{}' {}fixtures/grading/contest_programs.jsonl 2>/dev/null", python, folder, runner, folder));
  std::map<std::string, std::string> said;
  std::istringstream lines(run.output);
  for (std::string line; std::getline(lines, line);)
    if (const Json json = parse_json(line); json.is_object() && json.contains("official")) said[json["name"]] = json["official"];
  for (const Row& row : programs()) EXPECT_EQ(said[row.name], row.official) << row.name;
}

// --- comparison

TEST(ContestOutput, NumbersAreEqualExactlyOrNotAtAll) {
  EXPECT_TRUE(grading::same_output("1.0 2\n", "1.00 2.0"));
  EXPECT_FALSE(grading::same_output("0.3333333", "0.3333334"));
  EXPECT_TRUE(grading::same_output("1e2", "100")) << "exponents";
  EXPECT_TRUE(grading::same_output("123456789012345678901234567890.10", "123456789012345678901234567890.1"));
  EXPECT_FALSE(grading::same_output("123456789012345678901234567891", "123456789012345678901234567890"));
  EXPECT_FALSE(grading::same_output("1e9999999999999999999 x", "1e9999999999999999999 y"));
  EXPECT_FALSE(grading::same_output("-inf", "inf"));
  EXPECT_FALSE(grading::same_output("1 2", "1 2 0")) << "a list that is longer";
  EXPECT_FALSE(grading::same_output("", "0"));
}

TEST(ContestOutput, ValuesThatAreEqualInPythonHaveOneText) {
  const auto same = [](const char* a, const char* b) { return grading::canonical_value(a) == grading::canonical_value(b); };
  EXPECT_TRUE(same("[1, 2.5, {\"b\": 1, \"a\": [true]}]", "[1.0,2.50,{\"a\":[1],\"b\":1}]"));
  EXPECT_TRUE(same("1e22", "10000000000000000000000"));
  EXPECT_FALSE(same("10000000000000000000001", "10000000000000000000000"));
  EXPECT_FALSE(same("\"1\"", "1"));
  EXPECT_FALSE(same("[1, 2]", "[[1, 2]]"));
  EXPECT_TRUE(same("-0.0", "0"));
  EXPECT_FALSE(same("null", "0"));
  EXPECT_EQ(grading::canonical_value("[1,"), std::nullopt);
}

// --- programs in answers

TEST(Code, TheHouseRuleTakesTheLastPythonBlockAndThePublishedOneTheLastTwoFences) {
  const auto both = [](const char* answer) { return std::pair(grading::code_house(answer).text, grading::code_live_code_bench(answer).text); };
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(both("a\n```python\nx\ny\n```\nb"), Pair("x\ny", "x\ny"));
  EXPECT_EQ(both("```python\nx\n```\nIt prints\n```\n7\n```"), Pair("x", "7")) << "a trailing block of output";
  EXPECT_EQ(both("```\nx\n```"), Pair("x", "x"));
  EXPECT_EQ(both("  ```py\n  x\n  ```"), Pair("  x", "  x"));
  EXPECT_EQ(both("```python\nx\n```\nthen ```inline``` code"), Pair("x", "")) << "inline marks count as a fence for the published rule";
  EXPECT_EQ(both("```python\nx"), Pair("x", "")) << "never closed";
  EXPECT_EQ(both("~~~python\nx\n~~~"), Pair("x", ""));
  EXPECT_EQ(both("````python\n```\nx\n````"), Pair("```\nx", "x"));
  EXPECT_FALSE(grading::code_house("no code").found());
  EXPECT_FALSE(grading::code_live_code_bench("one ``` only").found());
}

}  // namespace
}  // namespace canvaslab
