// From a data file to scores with the program: data check and convert, sweep, shards, merge, regrade, export, diff.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/json.h"
#include "core/text/tokenizer.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

const std::string kTokenizer = CANVASLAB_SOURCE_DIR "/tests/fixtures/text/gemma_like.json";

class DataCommands : public ::testing::Test {
 protected:
  ShellResult run(const std::string& arguments) { return shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' " + arguments); }

  /// A model that answers "The answer is (X). Answer: X. \boxed{N}" with letters and digits drawn evenly.
  void SetUp() override {
    const Tokenizer tokenizer = Tokenizer::load(kTokenizer);
    Json tokens = Json::array(), logits = Json::object();
    const auto say = [&](const char* text) {
      for (const int32_t id : tokenizer.encode(text)) tokens.push_back(id);
    };
    const auto draw = [&](const std::string& choices) {
      Json row = Json::object();
      for (char c : choices) row[std::to_string(*tokenizer.id(std::string(1, c)))] = 30;
      logits[std::to_string(tokens.size())] = row;
      tokens.push_back(nullptr);
    };
    say("The answer is ("), draw("ABCD"), say(").\nAnswer: "), draw("ABCD"), say("\n\\boxed{"), draw("1579"), say("}"), tokens.push_back(*tokenizer.id("<turn|>"));
    write_file(folder_ / "script.json", json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {*tokenizer.id("<turn|>")}},
                                                       {"canvases", {{{{"tokens", tokens}, {"peak", 30}, {"logits", logits}}}}}}));
    write_file(folder_ / "s.toml", fmt::format("[denoiser]\nmodel = \"scripted(path=script.json)\"\ntokenizer = \"{}\"\n[dataset]\nname = \"source\"\n[grid]\nsampler = \"fixed_step\"\n"
                                               "steps = 1\nemission = \"canvas\"\n", kTokenizer));
    std::string csv = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain,Subdomain\n", aime;
    for (int i = 0; i < 24; ++i) {
      csv += fmt::format("r{},\"Which of these,\nsaid item {}?\",right,wrong,worse,worst,{},\n", i, i, i % 2 ? "Physics" : "Biology");
      aime += fmt::format("{{\"problem_idx\": {}, \"problem\": \"What is {} + 0?\", \"answer\": \"{:03}\"}}\n", i, i % 9, i % 9);
    }
    write_file(folder_ / "g.csv", csv);
    write_file(folder_ / "a.jsonl", aime);
  }
  std::string sweep(const std::string& dataset, const std::string& more) { return "sweep s.toml --quiet --set dataset.name=\"" + dataset + "\" " + more; }

  TemporaryFolder folder_;
};

TEST_F(DataCommands, AGatedFileIsCheckedWithoutShowingIt) {
  const auto result = run("data check g.csv");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, ::testing::AllOf(HasSubstr("gpqa"), HasSubstr("Physics"), HasSubstr("gated"), HasSubstr("198 (gpqa_diamond.csv)"), HasSubstr("every row can be used")));
  EXPECT_EQ(result.output.find("Which of these"), std::string::npos);
  write_file(folder_ / "bad.csv", "Record ID,Question,Correct Answer\nr1,\"x\n");
  EXPECT_EQ(run("data check bad.csv --dataset gpqa").exit_code, 3);
  EXPECT_EQ(run("data check g.csv --dataset source").exit_code, 2);
  EXPECT_EQ(run("data chekc g.csv").exit_code, 2);
}

TEST_F(DataCommands, ShardsMergeIntoTheUndividedRunOnRecordsAsOnTheirSource) {
  ASSERT_EQ(run("data convert g.csv --out g.jsonl").exit_code, 0);
  ASSERT_EQ(run(sweep("gpqa(file=g.csv, rotations=4)", "--out whole")).exit_code, 0);
  for (const char* shard : {"1/2", "2/2"}) ASSERT_EQ(run(sweep("gpqa(file=g.csv, rotations=4)", std::string("--out parts --shard ") + shard)).exit_code, 0);
  const auto merged = run("merge parts");
  ASSERT_EQ(merged.exit_code, 0) << merged.output;
  EXPECT_EQ(h5_difference(folder_ / "whole/run.h5", folder_ / "parts/run.h5"), "");
  ASSERT_EQ(run(sweep("gpqa(file=g.jsonl, rotations=4)", "--out records")).exit_code, 0);
  const auto same = run("diff whole records --json 2>err.txt");
  ASSERT_EQ(same.exit_code, 0) << same.output;
  const Json parsed = parse_json(same.output);
  ASSERT_TRUE(parsed.is_object() && parsed.contains("pairs") && parsed["pairs"].size() == 1) << same.output;
  const Json pair = parsed["pairs"][0];
  EXPECT_EQ(pair["difference"], 0.0) << same.output;
  EXPECT_EQ(pair["items"], 24) << "four orders of a question are one item";
}

TEST_F(DataCommands, RegradingByTheOtherRuleSaysWhatChangedAndLeavesTheRunAlone) {
  ASSERT_EQ(run(sweep("gpqa(file=g.csv)", "--out r")).exit_code, 0);
  const std::string before = read_file(folder_ / "r/run.journal");
  const auto unchanged = run("regrade r");
  EXPECT_EQ(unchanged.exit_code, 0) << unchanged.output;
  EXPECT_THAT(unchanged.output, HasSubstr("24 samples graded again, 0 scores changed"));
  EXPECT_EQ(h5_difference(folder_ / "r/run.h5", folder_ / "r/regraded/run.h5"), "");
  const auto lenient = run("regrade r --dataset 'gpqa(file=g.csv, published=lm_eval, grader=official)' --out other");
  EXPECT_EQ(lenient.exit_code, 0) << lenient.output;
  EXPECT_THAT(lenient.output, HasSubstr("scores changed"));
  EXPECT_EQ(read_file(folder_ / "r/run.journal"), before);
  EXPECT_THAT(run("regrade r --dataset 'gpqa(file=g.csv, seed=2)' --out third").output, HasSubstr("was asked otherwise"));
}

TEST_F(DataCommands, AimeRunsToAnAccuracyInEveryExport) {
  const auto result = run(sweep("aime(file=a.jsonl)", "--out r"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  ASSERT_EQ(run("export r --format json --out e").exit_code, 0);
  const Json results = parse_json(read_file(folder_ / "e/results_config-0.json"));
  const double accuracy = results["results"]["aime"]["accuracy,none"];
  EXPECT_GT(accuracy, 0);
  EXPECT_LT(accuracy, 1);
  EXPECT_EQ(run("data check a.jsonl").exit_code, 0);
}

TEST_F(DataCommands, ShotsAreReportedBeforeARunAndInItsExport) {
  std::string test, validation;
  const auto row = [](int id, const std::string& question) {
    return json_text(Json{{"question_id", id}, {"question", question}, {"options", {"w", "x", "y", "z"}}, {"answer", "B"}, {"answer_index", 1}, {"cot_content", "A: Let's think step by step. The answer is (B)."},
                          {"category", "law"}, {"src", "ours"}}) + "\n";
  };
  for (int i = 0; i < 4; ++i) test += row(i, i == 0 ? std::string(400, '7') : "What is it?");
  for (int i = 0; i < 5; ++i) validation += row(100 + i, "Example?");
  write_file(folder_ / "m.jsonl", test), write_file(folder_ / "v.jsonl", validation);
  const std::string dataset = "mmlu_pro(file=m.jsonl, validation=v.jsonl, shots=3, max_prompt_tokens=700)";
  const auto plan = run(sweep(dataset, "--dry-run"));
  EXPECT_THAT(plan.output, HasSubstr("worked examples in the prompt: 3 in 3 prompts, 1 in 1 prompts"));
  ASSERT_EQ(run(sweep(dataset, "--out r")).exit_code, 0);
  ASSERT_EQ(run("export r --format json --out e").exit_code, 0);
  const Json results = parse_json(read_file(folder_ / "e/results_config-0.json"));
  EXPECT_EQ(results["n-shot"]["mmlu_pro"], 3);
  EXPECT_EQ(results["n-shot_mean"]["mmlu_pro"], 2.5);
}

TEST_F(DataCommands, LmEvaluationHarnessReadsTheExport) {
  const char* python = std::getenv("CANVASLAB_GRADING_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_GRADING_PYTHON names no Python with lm-eval 0.4.13";
  ASSERT_EQ(run(sweep("gpqa(file=g.csv)", "--out r --set grid.steps='[1,2]'")).exit_code, 0);
  ASSERT_EQ(run("export r --format json --out e").exit_code, 0);
  const std::string reader = fmt::format("'{}' -W ignore '{}/tests/experiments/lm_eval_reader.py' '{}'", python, CANVASLAB_SOURCE_DIR, folder_ / "e");
  const auto read = shell(reader);
  EXPECT_EQ(read.exit_code, 0) << read.output;
  EXPECT_THAT(read.output, ::testing::AllOf(HasSubstr("|gpqa"), HasSubstr("accuracy"), HasSubstr("read by lm-eval")));
  std::string wrong = read_file(folder_ / "e/results_config-1.json");
  const auto at = wrong.find("\"accuracy,none\": ");
  ASSERT_NE(at, std::string::npos);
  wrong.insert(at + 17, "9");
  write_file(folder_ / "e/results_config-1.json", wrong);
  EXPECT_NE(shell(reader).exit_code, 0) << "a mean that is not the samples' must be seen";
}

}  // namespace
}  // namespace canvaslab
