// Every graded data set in one sweep of the small checkpoint, from miniature files in the published formats to the exported JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "eval/sandbox/isolation.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// What runs and what does not, with the reason.
struct Choice {
  std::map<std::string, std::string> sets;      ///< by name: parameters
  std::map<std::string, std::string> left_out;  ///< by name: why
};

Choice choose(bool has_parquet, bool has_sandbox) {
  Choice out;
  out.sets = {{"gpqa", "file='csv_all_crlf.csv'"}, {"jsonl", "file='questions.jsonl', rule=integer"}};
  for (const char* task : {"arithmetic", "choice", "dependency", "programs", "sudoku", "suites"}) out.sets[task] = "items=3";
  const std::map<std::string, std::string> parquet = {{"mmlu_pro", "file='mmlu_zstd.parquet', validation='mmlu_validation.parquet', shots=1"}, {"aime", "file='aime_int64.parquet'"}, {"math_vision", "file='math_vision.parquet', images=ignore"}};
  const std::map<std::string, std::string> programs = {{"live_code_bench", "file='lcb.jsonl'"}, {"human_eval", "file='he.jsonl.gz'"}};
  for (const auto& [name, parameters] : parquet) (has_parquet ? out.sets[name] : out.left_out[name]) = has_parquet ? parameters : "no Arrow (CANVASLAB_ARROW)";
  for (const auto& [name, parameters] : programs) (has_sandbox ? out.sets[name] : out.left_out[name]) = has_sandbox ? parameters : "programs cannot be isolated here";
  out.left_out["source"] = "judged by a divergence over all samples: a sweep of its own";
  out.left_out["prompts"] = "has no answers: its score is a length";
  out.left_out["joined"] = "is what joins the others";
  return out;
}

bool can_isolate() {
  try {
    find_isolation();
    return true;
  } catch (const UserError&) {
    return false;
  }
}

TEST(AllDataSets, RunOnACheckpointToTheExportedJson) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_PYTHON is not set";
  const TemporaryFolder folder;
  const auto run = [&](const std::string& arguments) { return shell("cd '" + folder.path() + "' && XDG_CACHE_HOME='" + folder.path() + "/cache' '" CANVASLAB_PROGRAM "' " + arguments); };
  const auto made = shell(fmt::format("CANVASLAB_ARROW='{}' '{}' '{}/tests/eval/make_data_files.py' '{}'", CANVASLAB_ARROW_FOLDER, python, CANVASLAB_SOURCE_DIR, folder.path()));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  const Choice choice = choose(std::filesystem::exists(folder / "mmlu_zstd.parquet"), can_isolate());
  std::string plan = "[run]\nname = \"all\"\n[denoiser]\nmodel = \"small\"\n[grid]\nsampler = [\"entropy_bound(0.05)\", \"fixed_step\"]\nsteps = 2\ncanvas_length = 16\nmax_new_tokens = 16\n";
  for (const auto& [name, parameters] : choice.sets) plan += fmt::format("[[dataset]]\nname = \"{}({})\"\nsubset = 3\n", name, parameters);
  write_file(folder / "all.toml", plan);
  // Whatever data set there is, it runs or has a reason not to.
  std::set<std::string> there;
  for (const auto& entry : parse_json(run("list datasets --json").output)["datasets"]) there.insert(entry["name"]);
  for (const auto& name : there) EXPECT_TRUE(choice.sets.contains(name) || choice.left_out.contains(name)) << name << " has no miniature file here";
  for (const auto& [name, why] : choice.left_out) std::printf("left out: %s (%s)\n", name.c_str(), why.c_str());

  const auto result = run("sweep all.toml --quiet --out run && '" CANVASLAB_PROGRAM "' export run --format json --out json");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  for (int config = 0; config < 2; ++config) {
    const Json results = parse_json(read_file(folder / fmt::format("json/results_config-{}.json", config)));
    ASSERT_TRUE(results.is_object());
    double sum = 0;
    for (const auto& [name, parameters] : choice.sets) {
      ASSERT_TRUE(results["results"].contains(name)) << name;
      const Json& one = results["results"][name];
      ASSERT_TRUE(one["accuracy,none"].is_number()) << name;
      sum += one["accuracy,none"].get<double>();
      EXPECT_EQ(results["n-samples"][name], (Json{{"original", 3}, {"effective", 3}, {"finished", 3}})) << name;
      EXPECT_EQ(results["task_hashes"][name].get<std::string>().size(), 64u) << name;
      EXPECT_THAT(results["configs"][name]["dataset"].get<std::string>(), HasSubstr(name + "(")) << name;
      const std::string lines = read_file(folder / fmt::format("json/samples_{}_config-{}.jsonl", name, config));
      EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 3) << name;
      const Json sample = parse_json(lines.substr(0, lines.find('\n')));
      EXPECT_TRUE(sample["doc"]["id"].get<std::string>().starts_with(name + "/")) << name;
      EXPECT_TRUE(sample["accuracy"].is_number()) << name;
    }
    EXPECT_EQ(results["group_subtasks"]["joined"].size(), choice.sets.size());
    EXPECT_NEAR(results["groups"]["joined"]["accuracy,none"].get<double>(), sum / static_cast<double>(choice.sets.size()), 1e-12) << "three items of each";
  }
  if (const char* harness = std::getenv("CANVASLAB_GRADING_PYTHON")) {
    const auto read = shell(fmt::format("'{}' -W ignore '{}/tests/experiments/lm_eval_reader.py' '{}'", harness, CANVASLAB_SOURCE_DIR, folder / "json"));
    EXPECT_EQ(read.exit_code, 0) << read.output;
    EXPECT_THAT(read.output, HasSubstr("read by lm-eval"));
  }
}

}  // namespace
}  // namespace canvaslab
