// The small trained model as a user meets it: generate without --model, sweeps by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/h5.h"
#include "core/json.h"
#include "tests/support/mistakes.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kProgram = CANVASLAB_PROGRAM;

TEST(SmallModelByName, AnswersWithoutBeingNamed) {
  // 6+7=13, 13-5=8, 1, 3, 7, 12: running results modulo 10. Token by token nothing is left to chance.
  const auto result = shell(kProgram + " generate --prompt '6+7-5-7-8+4+5=' --sampler 'ar(temperature=0)' --json");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const Json json = parse_json(result.output);
  EXPECT_EQ(json["text"], "<|channel>thought\n3,8,1,3,7,2<channel|>2<turn|>");
  EXPECT_EQ(json["config"]["model"], "small");
  const auto denoised = shell(kProgram + " generate --prompt '1.3..4....4.4..1' --json");
  ASSERT_EQ(denoised.exit_code, 0) << denoised.output;
  EXPECT_EQ(parse_json(denoised.output)["text"], "1234341221434321<turn|>") << "the README's Sudoku";
  EXPECT_GT(parse_json(denoised.output)["forwards"]["denoise"], 1);
}

TEST(SmallModelByName, IsSweptOverSeveralTasks) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", R"toml([run]
name = "tasks"
[denoiser]
model = "small"
[dataset]
name = "suites(tasks=\"arithmetic; sudoku\", items=20)"
[[grid]]
sampler = "ar(temperature=0)"
[[grid]]
sampler = "fixed_step"
steps = [1, 16]
canvas_length = [32, 16]
)toml");
  const auto result = shell(kProgram + " sweep " + (folder / "plan.toml") + " --quiet --out " + (folder / "run"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const H5Reader file(folder / "run/run.h5");
  const auto accuracy = file.read<double>("aggregates/accuracy");
  ASSERT_EQ(accuracy.size(), 5u);
  // The model card has .87 and .08 on 200 questions of these two tasks; 40 of them err by .16 at most with probability .99.
  EXPECT_GT(accuracy[0], 0.7);
  EXPECT_LT(accuracy[1], 0.4);
  const auto categories = file.read_strings("categories/category");
  EXPECT_THAT(std::vector<std::string>(categories.begin(), categories.begin() + 2), ElementsAre("arithmetic", "sudoku"));
  const auto plotted = shell(kProgram + " plot " + (folder / "run"));
  EXPECT_EQ(plotted.exit_code, 0) << plotted.output;
  const auto compact = shell(kProgram + " export " + (folder / "run") + " --format compact --out " + folder.path());
  ASSERT_EQ(compact.exit_code, 0) << compact.output;
  EXPECT_THAT(read_file(folder / "compact.md"), HasSubstr("| configuration | tokens per forward | accuracy | arithmetic | sudoku |\n"));
  EXPECT_THAT(read_file(folder / "compact.md"), HasSubstr("| ar(0) "));
}

TEST(SmallModelByName, WrongNamesSayWhichThereAre) {
  const TemporaryFolder folder;
  testing::expect_mistakes(folder.path(), {{"generate --model smol --prompt 1", 2, "small-1"}, {"inspect smol", 2, "smol"}});
  const auto nowhere = shell("CANVASLAB_MODELS=" + folder.path() + " " + kProgram + " generate --prompt 1");
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.output;
  EXPECT_THAT(nowhere.output, HasSubstr("'small'"));
}

}  // namespace
}  // namespace canvaslab
