// canvaslab diff as a user runs it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;

constexpr const char* kPlan = R"toml([denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "source(items=30)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = [2, 4]
canvas_length = 8
)toml";

class DiffCommand : public ::testing::Test {
 protected:
  DiffCommand() { write_file(folder / "plan.toml", kPlan); }
  void sweep(const std::string& run, const std::string& more = "") const {
    const auto result = shell(kProgram + " sweep " + (folder / "plan.toml") + " --quiet --out " + (folder / run) + " " + more);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  ShellResult diff(const std::string& arguments) const { return shell("cd " + folder.path() + " && " + kProgram + " diff " + arguments); }
  TemporaryFolder folder;
};

TEST_F(DiffCommand, ARunEqualsItselfAndAnotherSeedIsCompared) {
  sweep("one");
  sweep("two", "--set run.seed=2");
  const auto same = nlohmann::json::parse(diff("one one --json").output);
  ASSERT_EQ(same["pairs"].size(), 4u);  // the control is left out
  for (const auto& pair : same["pairs"]) {
    EXPECT_EQ(pair["difference"], 0.0);
    EXPECT_EQ(pair["p_holm"], 1.0);
    EXPECT_EQ(pair["quality"]["difference"], 0.0);
    EXPECT_TRUE(pair["differing_settings"].empty());
    EXPECT_EQ(pair["items"], 30);
  }
  const auto other = nlohmann::json::parse(diff("one two --json").output);
  EXPECT_NE(other["pairs"][0]["difference"], 0.0);
  const auto text = diff("one one --config-a 0 --config-b 1 --margin 0.5");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_NE(text.output.find("num_steps: 2 -> 4"), std::string::npos) << text.output;
  EXPECT_NE(text.output.find("equivalence within 0.5"), std::string::npos) << text.output;
  EXPECT_NE(text.output.find("collapse onto likely text"), std::string::npos) << text.output;
  EXPECT_EQ(text.output.find("Holm"), std::string::npos) << "one pair needs no adjustment";
}

TEST_F(DiffCommand, MistakesAreNamedAndOtherDenoisersAreFlagged) {
  sweep("one");
  sweep("data", "--set 'dataset.name=source(items=10)'");
  sweep("model", "--set 'denoiser.model=hmm(states=3, alphabet=6)'");
  sweep("shard", "--shard 1/2");
  const auto data = diff("one data");
  EXPECT_EQ(data.exit_code, 2);
  EXPECT_EQ(data.output.find("error: the runs are on different data"), 0u) << data.output;
  const auto model = diff("one model");
  EXPECT_EQ(model.exit_code, 0);
  EXPECT_NE(model.output.find("DIFFERENT DENOISERS"), std::string::npos) << model.output;
  EXPECT_EQ(diff("one nothing").exit_code, 3);
  const auto shard = diff("one shard");
  EXPECT_EQ(shard.exit_code, 3);
  EXPECT_NE(shard.output.find("canvaslab merge shard"), std::string::npos) << shard.output;
  EXPECT_EQ(diff("one plan.toml").exit_code, 3);
  EXPECT_EQ(diff("one").exit_code, 2);
  EXPECT_EQ(diff("one one --config-a 0").exit_code, 2);
  EXPECT_EQ(diff("one one --margin 0").exit_code, 2);
  EXPECT_EQ(diff("one one --margin nan").exit_code, 2);
}

}  // namespace
}  // namespace canvaslab
