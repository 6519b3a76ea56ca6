// canvaslab import and what follows: inspect, diff and export take the run like one of ours.
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;

TEST(ImportCommand, AnImportedRunServesLikeOurs) {
  const TemporaryFolder folder;
  for (const int better : {0, 1}) {
    std::string lines;
    for (int i = 0; i < 12; ++i) lines += "{\"id\": \"q" + std::to_string(i) + "\", \"completion\": \"text " + std::to_string(i) + "\", \"score\": " + std::to_string(better || i % 2) + "}\n";
    const std::string name = better ? "b" : "a";
    write_file((folder / name) + ".jsonl", lines);
    const auto imported = shell(kProgram + " import " + (folder / name) + ".jsonl --out " + (folder / name));
    EXPECT_EQ(imported.exit_code, 0) << imported.output;
    EXPECT_NE(imported.output.find("imported 12 samples of 12 items as 1 configuration, score score"), std::string::npos) << imported.output;
  }
  const std::vector<std::string> commands = {"inspect " + (folder / "a") + "/run.h5", "export " + (folder / "a") + " --format markdown", "export " + (folder / "a") + " --format csv"};
  for (const auto& command : commands) {
    const auto result = shell(kProgram + " " + command);
    EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.output;
  }
  const auto plot = shell(kProgram + " plot " + (folder / "a"));
  EXPECT_EQ(plot.exit_code, 0) << plot.output;
  EXPECT_NE(plot.output.find("figures are left out"), std::string::npos) << plot.output;
  EXPECT_TRUE(std::filesystem::exists(folder / "a/plots/report.html"));
  const auto diff = shell(kProgram + " diff " + (folder / "a") + " " + (folder / "b"));
  EXPECT_EQ(diff.exit_code, 0) << diff.output;
  EXPECT_NE(diff.output.find("only B right: 6"), std::string::npos) << diff.output;
  EXPECT_NE(diff.output.find("McNemar: exact p = 0.03125"), std::string::npos) << diff.output;  // 2 / 2^6
  const auto again = shell(kProgram + " import " + (folder / "a") + ".jsonl --out " + (folder / "a"));
  EXPECT_EQ(again.exit_code, 2) << again.output;
  write_file(folder / "bad.jsonl", "{\"id\": \"q1\"}\n");
  EXPECT_EQ(shell(kProgram + " import " + (folder / "bad.jsonl") + " --out " + (folder / "c")).exit_code, 3);
  EXPECT_FALSE(std::filesystem::exists(folder / "c"));
}

}  // namespace
}  // namespace canvaslab
