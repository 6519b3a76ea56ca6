// canvaslab recipe on made-up miniature files: from a data file to a verdict.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <tuple>

#include "core/json.h"
#include "core/text/tokenizer.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kCheckpoint = CANVASLAB_SOURCE_DIR "/tests/network/goldens/text";  // canvases of 16, a chat template
const std::string kTokenizer = CANVASLAB_SOURCE_DIR "/tests/fixtures/text/gemma_like.json";

class RecipeCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ / "data");
    std::string mmlu, aime;
    std::string gpqa = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain,Subdomain\n";
    for (int i = 0; i < 60; ++i) {
      const std::string category = i % 3 ? "physics" : "law";
      mmlu += json_text(Json{{"question_id", i}, {"question", fmt::format("What is {} + 1?", i)}, {"options", {"one", "two", "three"}}, {"answer", "B"}, {"answer_index", 1}, {"cot_content", ""},
                             {"category", category}, {"src", "ours"}}) + "\n";
      gpqa += fmt::format("r{},Which is {}?,right,wrong,worse,worst,{},x\n", i, i, i % 2 ? "Physics" : "Biology");
      aime += fmt::format("{{\"problem_idx\": {}, \"problem\": \"What is {} + 0?\", \"answer\": {}}}\n", i, i, i);
    }
    write_file(folder_ / "data/mmlu_pro.jsonl", mmlu);
    write_file(folder_ / "data/gpqa_diamond.csv", gpqa);
    write_file(folder_ / "data/aime_2026.jsonl", aime);
  }
  ShellResult run(const std::string& arguments) const { return shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' recipe " + arguments); }

  /// Options for a model that always writes `text`.
  std::string answering(const std::string& text) const {
    const Tokenizer tokenizer = Tokenizer::load(kTokenizer);
    Json tokens = Json::array();
    for (const int32_t id : tokenizer.encode(text)) tokens.push_back(id);
    tokens.push_back(*tokenizer.id("<turn|>"));
    const std::string path = folder_ / fmt::format("script_{}.json", std::hash<std::string>{}(text));
    write_file(path, json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {*tokenizer.id("<turn|>")}}, {"canvases", {{{{"tokens", tokens}, {"peak", 30}}}}}}));
    return fmt::format("--model 'scripted(path={})' --dtype f32 --set 'denoiser.tokenizer=\"{}\"' --set grid.canvas_length={} --set grid.max_new_tokens={}", path, kTokenizer, tokens.size(), tokens.size());
  }

  TemporaryFolder folder_;
};

TEST_F(RecipeCommand, ListsEveryRecipeAsTextAndJson) {
  const auto text = run("list");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.output, AllOf(HasSubstr("mmlu_pro_thinking"), HasSubstr("77.6%"), HasSubstr("gpqa_diamond.csv"), HasSubstr("pictures"), HasSubstr("Published, and in no recipe")));
  const Json list = parse_json(run("list --json --model 'hmm(states=4)'").output);
  ASSERT_TRUE(list.is_object());
  ASSERT_GT(list["recipes"].size(), 20u);
  for (const auto& recipe : list["recipes"]) {
    EXPECT_GT(recipe["predicted_hours"].get<double>(), 0) << recipe["name"];
    EXPECT_FALSE(recipe["published"].empty());
  }
  const auto registry = shell("'" CANVASLAB_PROGRAM "' list recipes --json");
  EXPECT_EQ(parse_json(registry.output)["recipes"].size(), list["recipes"].size());
}

TEST_F(RecipeCommand, RunsATinyCheckpointThroughItsChatTemplateAndResumes) {
  const std::string command = "run mmlu_pro_thinking --model '" + kCheckpoint + "' --data data --dtype f32 --limit 6 --out r --quiet --set grid.canvas_length=16 --set grid.max_new_tokens=16 --set grid.steps=3";
  const auto result = run(command);
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("77.6"), HasSubstr("not reproduced"), HasSubstr("6 of 12032 items"), HasSubstr("steps: published 48, here 3")));
  const auto journal = std::filesystem::file_size(folder_ / "r/run.journal");
  EXPECT_EQ(run(command).output, result.output);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "r/run.journal"), journal) << "nothing was run again";
  EXPECT_THAT(read_file(folder_ / "r/recipe.toml"), HasSubstr("thinking = true"));
  EXPECT_EQ(shell("'" CANVASLAB_PROGRAM "' export '" + (folder_ / "r") + "' --format markdown").exit_code, 0);
  const auto other = run("run mmlu_pro_thinking --model '" + kCheckpoint + "' --data data --dtype f32 --limit 7 --out r --quiet");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.output, HasSubstr("another folder"));
}

TEST_F(RecipeCommand, EndsInEveryVerdict) {
  std::string half;  // the answer is 5 in every other question
  for (int i = 0; i < 240; ++i) half += fmt::format("{{\"problem_idx\": {}, \"problem\": \"What is it?\", \"answer\": {}}}\n", i, 5 + i % 2);
  write_file(folder_ / "data/aime_2026.jsonl", half);
  const auto figure = [&](const std::string& text, const std::string& more) {
    const auto result = run(fmt::format("run aime_2026_no_thinking --data data {} {} --out r{} --quiet --json", answering(text), more, std::hash<std::string>{}(text + more)));
    EXPECT_EQ(result.exit_code, 0) << result.output;
    const Json report = parse_json(result.output);
    return report.is_object() ? report["figures"][0] : Json{};
  };
  const Json near = figure("It is 5.", ""), far = figure("It is 7.", ""), few = figure("It is 5.", "--limit 4");
  EXPECT_EQ(near["measured"], 50.0);
  EXPECT_EQ(near["verdict"], "reproduced") << "50.8 +- 10; half the 90% interval is 5.3";
  EXPECT_EQ(far["measured"], 0.0);
  EXPECT_EQ(far["verdict"], "not reproduced");
  EXPECT_EQ(few["verdict"], "undecided") << few;
  EXPECT_EQ(few["items"], 4);
}

TEST_F(RecipeCommand, NamesWhatDiffersFromThePublishedRun) {
  const auto result = run("run gpqa_no_thinking --data data " + answering("Answer: A") + " --out r --quiet --set run.repeats=2");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("canvas_length: published 256"), HasSubstr("repeats: published 1, here 2"), HasSubstr("items: published 198, here 60"), HasSubstr("DiffusionGemma 26B-A4B-it"),
                                   HasSubstr("precision"), HasSubstr("not published:"), HasSubstr("effective steps")));
  const Json report = parse_json(read_file(folder_ / "r/verdict.json"));
  EXPECT_EQ(report["figures"].size(), 5u);
  EXPECT_EQ(report["samples"], 120);
}

TEST_F(RecipeCommand, TheAutoregressiveRowRunsOnTheSameCheckpoint) {
  const auto result = run("run aime_2026_ar_no_thinking --model '" + kCheckpoint + "' --data data --dtype f32 --limit 4 --out r --quiet --set run.repeats=1 --set grid.max_new_tokens=12");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("57.5"), HasSubstr("max_new_tokens: published 8192, here 12")));
  EXPECT_EQ(result.output.find("sampler: published"), std::string::npos) << result.output;
}

TEST_F(RecipeCommand, RefusesWhatItCannotRun) {
  const auto refuses = [&](const std::string& arguments, int code, const std::string& word) {
    const auto result = run(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(word)) << arguments;
  };
  refuses("run gpqa_thinkin --model x --data y", 2, "did you mean 'gpqa_thinking'");
  refuses("rnu gpqa_thinking", 2, "did you mean 'run'");
  refuses("run", 2, "name of a recipe");
  refuses("run gpqa_thinking --data data", 2, "--model");
  refuses("run gpqa_thinking --model '" + kCheckpoint + "'", 2, "gpqa_diamond.csv");
  refuses("run gpqa_thinking --model '" + kCheckpoint + "' --data nowhere", 3, "accept its terms");
  refuses("run math_vision_thinking --model '" + kCheckpoint + "' --data data", 2, "pictures");
  const auto trace = shell("'" CANVASLAB_PROGRAM "' generate --model 'hmm(states=4)' --sampler ar --trace '" + (folder_ / "t.h5") + "'");
  EXPECT_EQ(trace.exit_code, 2);
  EXPECT_THAT(trace.output, HasSubstr("denoising steps"));
  write_file(folder_ / "data/mmlu_pro.jsonl", "{\"question_id\": 1}\n");
  refuses("run mmlu_pro_thinking --model '" + kCheckpoint + "' --data data --quiet", 3, "mmlu_pro.jsonl:1: question");
}

/// The sweeps over steps and block size of experiments/benchmarks, planned on miniature files.
TEST_F(RecipeCommand, EveryBenchmarkHasASweepOverStepsAndBlocks) {
  write_file(folder_ / "data/vision.jsonl", json_text(Json{{"id", "1"}, {"question", "What is 2 + 2?"}, {"options", Json::array()}, {"answer", "4"}, {"solution", nullptr}, {"level", 1}, {"subject", "arithmetic"}, {"image", "images/1.jpg"}}) + "\n");
  write_file(folder_ / "data/code.jsonl", json_text(Json{{"question_title", "t"}, {"question_content", "Print 1."}, {"platform", "atcoder"}, {"question_id", "q"}, {"contest_id", "c"}, {"contest_date", "2025-01-01T00:00:00"},
                                                         {"starter_code", ""}, {"difficulty", "easy"}, {"public_test_cases", "[{\"input\": \"\", \"output\": \"1\", \"testtype\": \"stdin\"}]"}, {"private_test_cases", "[]"}, {"metadata", "{}"}}) + "\n");
  const auto plan = [&](const std::string& name, const std::string& dataset) {
    return shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' sweep '" CANVASLAB_SOURCE_DIR "/experiments/benchmarks/" + name + ".toml' --dry-run --set denoiser.model='" + kCheckpoint +
                 "' --set denoiser.dtype=f32 --set dataset.name='\"" + dataset + "\"'" + (name == "mmlu_pro" ? " --set dataset.subset=20" : ""));
  };
  constexpr int kConfigurations = 4 * 4 * 3 + 1;  // 16 points of three grids, one of which holds the reference; the autoregressive row
  for (const auto& [name, dataset, items] : {std::tuple{"mmlu_pro", "mmlu_pro(file=data/mmlu_pro.jsonl)", 20}, {"gpqa", "gpqa(file=data/gpqa_diamond.csv, rotations=4)", 240},
                                             {"aime", "aime(file=data/aime_2026.jsonl)", 60}, {"math_vision", "math_vision(file=data/vision.jsonl)", 1}}) {
    const auto result = plan(name, dataset);
    EXPECT_EQ(result.exit_code, 0) << name << "\n" << result.output;
    const std::string end = result.output.substr(result.output.find(" configurations x ") == std::string::npos ? 0 : result.output.find(" configurations x ") - 4);
    EXPECT_THAT(end, HasSubstr(fmt::format("{} configurations x {} items x 1 seeds x {} repeats", kConfigurations, items, std::string(name) == "aime" ? 16 : 1)));
    EXPECT_NE(result.output.find("sampler=ar(temperature=1)"), std::string::npos) << name;
  }
  const auto code = plan("live_code_bench", "live_code_bench(file=data/code.jsonl)");  // planned where programs can be judged, else refused with the reason
  EXPECT_TRUE(code.exit_code == 0 ? code.output.find("x 1 items x") != std::string::npos : code.output.find("sandbox") != std::string::npos) << code.output;
}

}  // namespace
}  // namespace canvaslab
