// live_code_bench and human_eval as data sets: from a file and an answer to scores, outcomes and metrics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "eval/dataset.h"
#include "eval/recent.h"
#include "eval/rows.h"
#include "tests/support/ascii_text.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

std::string lcb_row(const std::string& id, const Json& public_tests, const Json& private_tests, const std::string& function = "") {
  return json_text(Json{{"question_title", "t"}, {"question_content", "Add."}, {"platform", "atcoder"}, {"question_id", id}, {"contest_id", "c"}, {"contest_date", "2025-01-01T00:00:00"},
                        {"starter_code", function.empty() ? "" : "class Solution:"}, {"difficulty", "easy"}, {"public_test_cases", json_text(public_tests)}, {"private_test_cases", json_text(private_tests)},
                        {"metadata", function.empty() ? "{}" : json_text(Json{{"func_name", function}})}}) + "\n";
}
Json test_case(const std::string& input, const std::string& output) { return {{"input", input}, {"output", output}, {"testtype", "stdin"}}; }

class ProgramData : public testing::WithSandbox {
 protected:
  void SetUp() override {
    testing::WithSandbox::SetUp();
    // Verdicts of tests stay among themselves; the first cache of the process decides, so all tests use one place.
    static const TemporaryFolder cache;
    ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
    write_file(folder_ / "lcb.jsonl", lcb_row("sums", Json::array({test_case("1 2\n", "3")}), Json::array({test_case("3 4\n", "7")})) +
                                          lcb_row("add", Json::array({test_case("1\n2", "3")}), Json::array({test_case("3\n4", "7")}), "add"));
    write_file(folder_ / "he.jsonl", json_text(Json{{"task_id", "T/0"}, {"prompt", "import math\n\ndef twice(x):\n    \"\"\"Twice x.\"\"\"\n"}, {"entry_point", "twice"}, {"canonical_solution", "    return 2 * x\n"},
                                                    {"test", "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate([1]) == [1, 1]\n"}}) + "\n");
  }
  struct Judged {
    Score score;
    std::map<std::string, std::string> named;  ///< metrics that are names
    std::map<std::string, double> metrics;
  };
  Judged judge(const std::string& dataset_text, size_t item, const std::string& answer) const {
    const auto dataset = datasets().make(dataset_text);
    EXPECT_EQ(dataset->cannot_score(), "");
    const auto examples = dataset->load();
    std::vector<int32_t> ids(answer.begin(), answer.end());
    for (auto& id : ids) id = id == '\n' ? 200 : id;
    ids.push_back(1);
    auto decoder = testing::ascii_decoder(false);
    decoder.decode = [](std::span<const int32_t> tokens) {
      std::string text;
      for (const int32_t id : tokens) text += id == 200 ? '\n' : static_cast<char>(id);
      return text;
    };
    dataset->use_text(decoder);
    Judged out{dataset->score(examples.at(item), ids, *denoiser_), {}, {}};
    const auto facts = dataset->score_facts();
    EXPECT_EQ(facts.metrics.size(), out.score.metrics.size());
    for (size_t m = 0; m < facts.metrics.size(); ++m) {
      out.metrics[facts.metrics[m].name] = out.score.metrics[m];
      if (!facts.metrics[m].names.empty()) out.named[facts.metrics[m].name] = facts.metrics[m].names.at(static_cast<size_t>(out.score.metrics[m]));
    }
    EXPECT_EQ(dataset->texts(examples.at(item), ids, *denoiser_), out.score.texts);
    return out;
  }
  std::string lcb(const std::string& more = "") const { return "live_code_bench(file='" + (folder_ / "lcb.jsonl") + "'" + more + ")"; }
  std::string human_eval(const std::string& more = "") const { return "human_eval(file='" + (folder_ / "he.jsonl") + "'" + more + ")"; }
  TemporaryFolder folder_;
  std::unique_ptr<Denoiser> denoiser_ = denoisers().make("uniform(alphabet=4)");
};

TEST_F(ProgramData, LiveCodeBenchCountsThePublishedGraderAndShowsTheOther) {
  const auto right = judge(lcb(), 0, "Here:\n```python\na, b = map(int, input().split())\nprint(a + b)\n```\n");
  EXPECT_EQ(right.score.value, 1);
  EXPECT_EQ(right.named.at("verdict"), "correct");
  EXPECT_EQ(right.named.at("outcome"), "passed");
  EXPECT_EQ(right.metrics.at("accuracy_house"), 1);
  const std::string only_strict = "```python\nimport sys\nprint(sum(int(x) for line in sys.stdin for x in line.split()))\n```";
  const auto published = judge(lcb(), 0, only_strict), house = judge(lcb(", grader=house"), 0, only_strict);
  EXPECT_EQ(published.score.value, 0);
  EXPECT_EQ(published.named.at("outcome"), "runtime_error");
  EXPECT_EQ(published.metrics.at("accuracy_house"), 1);
  EXPECT_EQ(published.named.at("outcome_house"), "passed");
  EXPECT_EQ(house.score.value, 1);
  EXPECT_EQ(house.named.at("outcome_official"), "runtime_error");
}

TEST_F(ProgramData, FunctionsAreCalledAndPrivateTestsCount) {
  EXPECT_EQ(judge(lcb(), 1, "```python\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b\n```").score.value, 1);
  const auto cheat = judge(lcb(), 1, "```python\nclass Solution:\n    def add(self, a, b):\n        return 3\n```");
  EXPECT_EQ(cheat.score.value, 0) << "right on the public test alone";
  EXPECT_EQ(cheat.named.at("outcome"), "wrong_answer");
}

TEST_F(ProgramData, AnAnswerWithoutAProgramHasNone) {
  const auto none = judge(lcb(), 0, "I do not know.");
  EXPECT_EQ(none.score.value, 0);
  EXPECT_EQ(none.named.at("verdict"), "no_answer");
  EXPECT_EQ(none.named.at("outcome"), "no_program");
}

TEST_F(ProgramData, HumanEvalTakesWholeFunctionsAndContinuations) {
  EXPECT_EQ(judge(human_eval(), 0, "```python\ndef twice(x):\n    return 2 * x\n```").score.value, 1);
  EXPECT_EQ(judge(human_eval(), 0, "```python\n    return 2 * x\n```").score.value, 1) << "the body alone";
  const auto continued = judge(human_eval(", grader=official"), 0, "    return 2 * x\n");
  EXPECT_EQ(continued.score.value, 1) << "as the published code: prompt and completion";
  const auto wrong = judge(human_eval(), 0, "```python\ndef twice(x):\n    return x\n```");
  EXPECT_EQ(wrong.score.value, 0);
  EXPECT_EQ(wrong.named.at("outcome"), "wrong_answer");
  EXPECT_EQ(wrong.metrics.at("accuracy_official"), 0);
}

TEST_F(ProgramData, TheInterpretersVersionIsPartOfTheContentAndItsPathIsNot) {
  const std::string hash = datasets().make(lcb())->content_hash();
  EXPECT_THAT(hash, HasSubstr("python=" + isolation_->interpreter.version));
  EXPECT_EQ(hash.find("/usr/bin"), std::string::npos);
  EXPECT_NE(hash, datasets().make(lcb(", timeout=3"))->content_hash());
  EXPECT_NE(hash, datasets().make(lcb(", grader=house"))->content_hash());
}

TEST_F(ProgramData, AFileThatChangedUnderARunIsNoticed) {
  const auto dataset = datasets().make(lcb());
  auto decoder = testing::ascii_decoder(false);
  decoder.decode = [](std::span<const int32_t>) { return std::string("```python\nprint(0)\n```"); };
  dataset->use_text(decoder);
  const auto examples = dataset->load();
  write_file(folder_ / "lcb.jsonl", "{}\n" + read_file(folder_ / "lcb.jsonl"));
  const std::vector<int32_t> ids = {'x', 1};
  try {
    dataset->score(examples.at(1), ids, *denoiser_);
    FAIL() << "another row was graded";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has changed while it was in use"));
  }
}

TEST_F(ProgramData, AKnownVerdictNeedsNoTests) {
  const auto first = datasets().make(lcb()), second = datasets().make(lcb());
  auto decoder = testing::ascii_decoder(false);
  decoder.decode = [](std::span<const int32_t> ids) { return fmt::format("```python\na, b = map(int, input().split())\nprint(a + b + {} - 120)\n```", ids[0]); };
  first->use_text(decoder), second->use_text(decoder);
  first->load();
  const auto item = second->load().front();
  const std::vector<int32_t> right = {'x', 1}, wrong = {'y', 1};  // x: 120
  EXPECT_EQ(first->score(item, right, *denoiser_).value, 1);
  std::filesystem::resize_file(folder_ / "lcb.jsonl", 10);
  EXPECT_EQ(second->score(item, right, *denoiser_).value, 1);
  EXPECT_THROW(second->score(item, wrong, *denoiser_), UserError) << "another program's verdict needs the tests, which are gone";
}

TEST(RowFile, OneWayThroughAZippedFileUnpacksItOnce) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += json_text(Json{{"id", i}, {"text", std::string(500 + static_cast<size_t>(i) % 7 * 100, static_cast<char>('a' + i % 26))}}) + "\n";
  write_file(folder / "plain.jsonl", text);
  ASSERT_EQ(shell("gzip -k '" + (folder / "plain.jsonl") + "'").exit_code, 0);
  for (const char* name : {"plain.jsonl", "plain.jsonl.gz"}) {
    std::vector<int64_t> offsets;
    read_rows(folder / name, [&](const DataRow& row) { offsets.push_back(row.offset); });
    ASSERT_EQ(offsets.size(), 2000u);
    RowFile file(folder / name);
    for (size_t i = 0; i < offsets.size(); ++i) ASSERT_EQ(file.at(offsets[i]).fields["id"], i) << name;
    EXPECT_LE(file.num_bytes_unpacked(), static_cast<int64_t>(text.size())) << name;
    EXPECT_EQ(file.at(offsets[3]).fields["id"], 3) << "back again";
    EXPECT_EQ(file.at(offsets[1999]).fields["id"], 1999);
    EXPECT_THROW(file.at(offsets[5] + 1), UserError);
  }
}

TEST(Recent, IsMadeOnceHoweverManyAsk) {
  Recent<int> recent(2);
  std::atomic<int> made{0}, asking{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      ++asking;
      EXPECT_EQ(*recent.get("a", [&] {
        while (asking < 4) std::this_thread::yield();  // the others come while it is made
        return ++made;
      }), 1);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  const auto next = [&] { return ++made; };
  recent.get("b", next), recent.get("a", next);
  EXPECT_EQ(made, 2) << "'a' is still here";
  recent.get("c", next), recent.get("b", next);
  EXPECT_EQ(made, 4) << "'b' was used longest ago";
  EXPECT_THROW(recent.get("d", []() -> int { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_EQ(*recent.get("d", next), 5) << "tried again";
}

TEST(Recent, KeepsWhatIsStillBeingMade) {
  Recent<int> recent(1);
  std::atomic<int> made{0};
  std::atomic<bool> begun{false}, asked{false};
  std::thread first([&] {
    recent.get("slow", [&] {
      begun = true;
      while (!asked) std::this_thread::yield();
      return ++made;
    });
  });
  while (!begun) std::this_thread::yield();
  recent.get("quick", [] { return 7; });  // one too many: not "slow" goes
  std::thread second([&] { EXPECT_EQ(*recent.get("slow", [&] { return ++made; }), 1); });
  asked = true;
  first.join(), second.join();
  EXPECT_EQ(made, 1);
}

}  // namespace
}  // namespace canvaslab
