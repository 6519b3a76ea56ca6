// canvaslab export: every number of the run is in the files, and other tools read them.
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/h5.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;

constexpr const char* kPlan = R"toml([run]
repeats = 2
[denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "source(items=10)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = 3
canvas_length = 8
)toml";

class ExportCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    write_file(folder / "plan.toml", kPlan);
    const auto result = shell(kProgram + " sweep " + (folder / "plan.toml") + " --quiet --out " + (folder / "run"));
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  ShellResult write(const std::string& arguments) const { return shell("cd " + folder.path() + " && " + kProgram + " export " + arguments); }
  std::vector<std::string> lines(const std::string& name) const {
    std::istringstream in(read_file(folder / name));
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }
  TemporaryFolder folder;
};

/// Cells of a CSV line, quotes taken off.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') out.back() += line[i++];
    else if (line[i] == '"') quoted = !quoted;
    else if (line[i] == ',' && !quoted) out.emplace_back();
    else out.back() += line[i];
  }
  return out;
}

TEST_F(ExportCommand, CsvHoldsEverySampleExactly) {
  const auto result = write("run --format csv");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "run/export/configurations.csv\nrun/export/samples.csv\n");
  const auto samples = lines("run/export/samples.csv");
  ASSERT_EQ(samples.size(), 1u + 3 * 10 * 2);  // two samplers and the control
  const auto names = cells(samples[0]);
  const auto at = [&](const std::string& name) { return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin()); };
  ASSERT_LT(at("score"), names.size());
  const H5Reader file(folder / "run/run.h5");
  const auto score = file.read<double>("samples/score");
  const auto seed = file.read<uint64_t>("samples/seed");
  for (size_t i = 0; i < score.size(); ++i) {
    const auto row = cells(samples[i + 1]);
    ASSERT_EQ(row.size(), names.size()) << i;
    EXPECT_EQ(std::strtod(row[at("score")].c_str(), nullptr), score[i]) << i;
    EXPECT_EQ(row[at("seed")], std::to_string(seed[i]));
    EXPECT_EQ(row[at("failed")], "finished");
  }
  EXPECT_EQ(cells(samples.back())[at("stop_reason")], "control");
  EXPECT_EQ(cells(samples.back())[at("tokens_per_denoiser_forward")], "") << "undefined stays empty";
  const auto configs = lines("run/export/configurations.csv");
  ASSERT_EQ(configs.size(), 4u);
  EXPECT_EQ(cells(configs[1]).size(), cells(configs[0]).size());
  EXPECT_NE(configs[1].find("entropy_bound"), std::string::npos);
}

TEST_F(ExportCommand, MarkdownHasARowPerConfiguration) {
  const auto result = write("run/run.h5 --format markdown --out tables");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "tables/results.md\n");
  const auto text = lines("tables/results.md");
  ASSERT_EQ(text.size(), 4u + 2 + 3);
  const auto bars = [](const std::string& line) { return std::count(line.begin(), line.end(), '|'); };
  for (size_t i = 4; i < text.size(); ++i) EXPECT_EQ(bars(text[i]), 8) << text[i];
}

TEST_F(ExportCommand, CompactHasShortLabels) {
  const auto result = write("run/run.h5 --format compact --out tables");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "tables/compact.md\n");
  const auto text = lines("tables/compact.md");
  ASSERT_EQ(text.size(), 2u + 2 + 3);
  EXPECT_EQ(text[2], "| configuration | tokens per forward | pair_divergence_nats |");
  EXPECT_TRUE(text[4].starts_with("| entropy_bound(0.1) ")) << text[4];
  EXPECT_LT(text[4].size(), 160u) << text[4];
  EXPECT_TRUE(text[6].starts_with("| exact samples | - | ")) << text[6];
}

TEST_F(ExportCommand, JsonHasTheHarnessFields) {
  const auto result = write("run --format json --out files");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto results = nlohmann::json::parse(read_file(folder / "files/results_config-1.json"));
  for (const char* key : {"results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config", "git_hash", "date", "task_hashes", "model_name",
                          "system_instruction", "system_instruction_sha", "chat_template", "chat_template_sha", "total_evaluation_time_seconds"})
    EXPECT_TRUE(results.contains(key)) << key;
  for (const char* key : {"model", "model_args", "batch_size", "limit", "bootstrap_iters", "gen_kwargs", "random_seed", "numpy_seed", "torch_seed", "fewshot_seed"})
    EXPECT_TRUE(results["config"].contains(key)) << key;
  const H5Reader file(folder / "run/run.h5");
  EXPECT_EQ(results["results"]["source"]["negative_log_likelihood,none"], file.read<double>("aggregates/score_mean")[1]);
  EXPECT_EQ(results["results"]["source"]["pair_divergence_nats_stderr,none"], file.read<double>("aggregates/pair_divergence_standard_error")[1]);
  EXPECT_EQ(results["higher_is_better"]["source"]["negative_log_likelihood"], false);
  EXPECT_EQ(results["config"]["gen_kwargs"]["num_steps"], "3");
  EXPECT_TRUE(results["total_evaluation_time_seconds"].is_string());
  const auto samples = lines("files/samples_source_config-1.jsonl");
  ASSERT_EQ(samples.size(), 20u);
  const auto line = nlohmann::json::parse(samples[3]);
  for (const char* key : {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash"}) EXPECT_TRUE(line.contains(key)) << key;
  EXPECT_EQ(line["doc"]["id"], "sample-000001");
  EXPECT_EQ(line["repeat"], 1);
  EXPECT_EQ(line["negative_log_likelihood"], file.read<double>("samples/score")[20 + 3]);
  std::istringstream tokens(line["resps"][0][0].get<std::string>());
  const auto begin = file.read<uint64_t>("samples/ids_begin")[23];
  const auto ids = file.read<int32_t>("text/ids");
  for (size_t i = 0; i < 8; ++i) {
    int32_t id = -1;
    tokens >> id;
    EXPECT_EQ(id, ids[begin + i]) << i;
  }
}

TEST_F(ExportCommand, MistakesAreNamed) {
  const auto format = write("run --format jsn");
  EXPECT_EQ(format.exit_code, 2);
  EXPECT_NE(format.output.find("did you mean 'json'?"), std::string::npos) << format.output;
  EXPECT_EQ(write("run").exit_code, 2);
  EXPECT_EQ(write("nothing --format csv").exit_code, 3);
  EXPECT_EQ(write("plan.toml --format csv").exit_code, 3);
  EXPECT_EQ(write("run --format csv --out plan.toml/x").exit_code, 3);
}

}  // namespace
}  // namespace canvaslab
