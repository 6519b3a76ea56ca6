// Options of sweep that change what is shown or read, not what is computed.
#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;
const std::string kSweep = R"toml([run]
name = "options"
[denoiser]
model = "hmm(states=3, alphabet=5, length=8)"
[dataset]
name = "source(items=6)"
[grid]
sampler = ["ddim"]
canvas_length = 8
steps = [2, 4]
)toml";

class SweepOption : public ::testing::Test {
 protected:
  ShellResult run(const std::string& arguments) { return shell("cd '" + folder_.path() + "' && '" + kProgram + "' sweep " + arguments); }
  TemporaryFolder folder_;
};

TEST_F(SweepOption, ProgressJsonIsOneObjectALine) {
  write_file(folder_ / "s.toml", kSweep);
  const auto result = run("s.toml --out out --progress json 2>err.txt");
  ASSERT_EQ(result.exit_code, 0) << result.output << read_file(folder_ / "err.txt");
  std::istringstream lines(result.output);
  Json last;
  for (std::string line; std::getline(lines, line);) {
    last = parse_json(line);
    ASSERT_TRUE(last.is_object()) << line;
  }
  EXPECT_EQ(last["done"], last["total"]) << result.output;
  EXPECT_GT(last["total"].get<int>(), 0);
  for (const char* key : {"failed", "samples_per_second", "score", "score_standard_error", "tokens_per_forward", "tokens_per_second", "eta_seconds"}) EXPECT_TRUE(last.contains(key)) << key;
  EXPECT_EQ(run("s.toml --progress jsn").exit_code, 2);
}

TEST_F(SweepOption, DryRunTellsLengthsTimeAndMemory) {
  write_file(folder_ / "s.toml", kSweep);
  const auto result = run("s.toml --dry-run --threads 1");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  for (const char* text : {"no prompt", "a forward on 8 positions", "on 1 thread;", "MB of memory", "at most"}) EXPECT_NE(result.output.find(text), std::string::npos) << text << "\n" << result.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "results"));
}

TEST_F(SweepOption, IncludeTakesABaseFileAndTheFileWins) {
  std::filesystem::create_directories(folder_ / "base");
  write_file(folder_ / "base/common.toml", kSweep);
  write_file(folder_ / "s.toml", "include = \"base/common.toml\"\n[run]\nname = \"mine\"\n[grid]\nsteps = [3]\n");
  const auto plain = run("base/common.toml --dry-run"), result = run("s.toml --dry-run");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(plain.output.find("num_steps=2"), std::string::npos) << plain.output;
  EXPECT_NE(result.output.find("num_steps=3"), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find("num_steps=2"), std::string::npos) << "lists are replaced, not joined\n" << result.output;
  EXPECT_NE(result.output.find("results/runs/mine"), std::string::npos) << result.output;
}

TEST_F(SweepOption, MistakesInIncludedFilesNameTheFileAndLine) {
  write_file(folder_ / "base.toml", "[run]\nname = \"x\"\nrepeat = 3\n");
  write_file(folder_ / "s.toml", "include = \"base.toml\"\n[denoiser]\nmodel = \"hmm(states=3)\"\n[grid]\nsampler = \"ddim\"\n");
  const auto unknown = run("s.toml --dry-run");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.output.find("base.toml:3:1: unknown key 'repeat'"), std::string::npos) << unknown.output;
  write_file(folder_ / "base.toml", "[run]\nname = \"x\"\nrepeats = \"3\"\n");
  const auto type = run("s.toml --dry-run");
  EXPECT_NE(type.output.find("base.toml:3:11: 'repeats' must be a whole number"), std::string::npos) << type.output;
  write_file(folder_ / "loop.toml", "include = \"loop.toml\"\n");
  const auto loop = run("loop.toml --dry-run");
  EXPECT_EQ(loop.exit_code, 2);
  EXPECT_NE(loop.output.find("loop.toml:1:11: files include each other"), std::string::npos) << loop.output;
  write_file(folder_ / "gone.toml", "include = \"nowhere.toml\"\n");
  const auto gone = run("gone.toml --dry-run");
  EXPECT_EQ(gone.exit_code, 3);
  EXPECT_NE(gone.output.find("gone.toml:1:11"), std::string::npos) << gone.output;
}

/// A device is part of what results depend on; where it is not named, plans and keys are what they were before there was a choice.
TEST_F(SweepOption, TheDeviceIsChecked) {
  write_file(folder_ / "s.toml", kSweep);
  const auto wrong = run("s.toml --dry-run --set denoiser.device=gpu");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.output.find("'device' is 'gpu'; expected cpu or cuda"), std::string::npos) << wrong.output;
  const auto source = run("s.toml --dry-run --set denoiser.device=cuda");
  EXPECT_EQ(source.exit_code, 2);
  EXPECT_NE(source.output.find("runs on the CPU; leave the device out"), std::string::npos) << source.output;
  EXPECT_EQ(run("s.toml --out out --set denoiser.device=cpu").exit_code, 0);
  const auto again = run("s.toml --out out");
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(again.output.find("different plan"), std::string::npos) << again.output;
  const auto none = run("s.toml --dry-run --set denoiser.model=small --set denoiser.device=cuda");
  EXPECT_TRUE(none.exit_code == 0 || none.output.find("device cuda: ") != std::string::npos) << none.output;
}

TEST_F(SweepOption, TheEnvironmentAssignsAShard) {
  write_file(folder_ / "s.toml", kSweep);
  for (int rank = 0; rank < 2; ++rank) {
    const auto result = shell("cd '" + folder_.path() + "' && OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + " '" + kProgram + "' sweep s.toml --out out");
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_NE(result.output.find("shard " + std::to_string(rank + 1) + "/2"), std::string::npos) << result.output;
  }
  EXPECT_EQ(shell("'" + kProgram + "' merge '" + folder_.path() + "/out'").exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/run.h5"));
}

}  // namespace
}  // namespace canvaslab
