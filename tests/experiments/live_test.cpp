// The live views as a person sees them: in a terminal that tmux draws.
#include <gtest/gtest.h>

#include <regex>

#include "tests/support/tmux.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;
// Thousands of canvases: it is still at work whenever the test looks.
const std::string kGenerate = kProgram + " generate --model 'hmm(states=16, alphabet=40)' --canvas-length 120 --steps 32 --sampler 'entropy_bound(0.5)' --max-new-tokens 1000000";

bool has(const std::string& screen, const std::string& pattern) { return std::regex_search(screen, std::regex(pattern)); }

class LiveView : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Terminal::available()) GTEST_SKIP() << "tmux is not installed; on Debian: apt-get install tmux";
  }
  TemporaryFolder folder;
};

TEST_F(LiveView, GenerateShowsTheCanvasSettlingAndLeavesTheTerminalClean) {
  Terminal terminal(folder.path());
  terminal.type(kGenerate);
  // A second canvas: the first one's tokens stand above.
  const std::string status = R"(canvas [1-9]\d*/8334  step \d+/32  entropy \d\.\d{3} nats  accepted \d+/120  \d+ tokens/s\n)";
  const std::string screen = terminal.wait([&](const std::string& now) { return has(now, status) && !has(now, "canvas 1/8334"); });
  EXPECT_TRUE(has(screen, status)) << screen;
  EXPECT_TRUE(has(screen, R"((^|\n)(\d+ )+)")) << screen;
  // Of a frame, uncertain tokens are dim and confident ones are not.
  const std::string drawn = terminal.wait([](const std::string& now) { return has(now, "\033\\[(0;)?2m\\d") && has(now, "\033\\[0m\\d| \033\\[0m"); }, true);
  EXPECT_TRUE(has(drawn, "\033\\[(0;)?2m\\d")) << drawn;
  terminal.press("C-c");
  const std::string after = terminal.wait([](const std::string& now) { return has(now, "\\^C\\s+READY:"); });
  ASSERT_TRUE(has(after, "\\^C\\s+READY:")) << after;
  terminal.type("echo $? plain");
  const std::string code = terminal.wait([](const std::string& now) { return has(now, "\n130 plain"); }, true);
  EXPECT_TRUE(has(code, "\n130 plain")) << code;  // no attribute is left on
  EXPECT_EQ(terminal.value("cursor_flag"), "1\n");
  EXPECT_EQ(terminal.value("alternate_on"), "0\n");
}

TEST_F(LiveView, GenerateEndsWithTheTextAloneAndNothingOfTheView) {
  Terminal terminal(folder.path());
  terminal.type("clear; " + kProgram + " generate --model 'hmm(states=4)' --canvas-length 12 --steps 4 --max-new-tokens 24 2>/dev/null; echo en''d");
  const std::string quiet = terminal.wait_for("end\n");
  terminal.type("clear; " + kProgram + " generate --model 'hmm(states=4)' --canvas-length 12 --steps 4 --max-new-tokens 24 --live; echo fin''ished");
  const std::string live = terminal.wait_for("finished\n");
  std::smatch text;
  ASSERT_TRUE(std::regex_search(quiet, text, std::regex(R"((\d+ ){23}\d+\n)"))) << quiet;
  EXPECT_NE(live.find(text.str()), std::string::npos) << live;
  EXPECT_FALSE(has(live, "accepted")) << live;
  EXPECT_TRUE(has(live, "24 tokens, 2 canvases")) << live;
}

TEST_F(LiveView, AnErrorDuringTheViewIsReadable) {
  Terminal terminal(folder.path());
  terminal.type("clear; " + kProgram + " generate --model 'hmm(states=4)' --pin '9999=1'; echo co''de $?");
  const std::string screen = terminal.wait_for("code ");
  EXPECT_TRUE(has(screen, "\nerror: pinned position 9999 is outside")) << screen;
  EXPECT_TRUE(has(screen, "code 2")) << screen;
}

constexpr const char* kPlan = R"toml([denoiser]
model = "hmm(states=16, alphabet=24)"
[dataset]
name = "source(items=20000)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = [2, 4, 8]
canvas_length = 32
)toml";

TEST_F(LiveView, SweepShowsALineAConfigurationAndTheWhole) {
  write_file(folder / "plan.toml", kPlan);
  Terminal terminal(folder.path());
  terminal.type("clear; " + kProgram + " sweep plan.toml --threads 1 --out run");
  const std::string line = R"(\n  5 +\d+/20000 +\d\.\d{4} \+- \d\.\d{4} +\d+\.\d\d +\d+  fixed_step .*)";
  const std::string whole = R"(\n\d+/140000 samples  ETA .+  \d+\.\d/s  \d\.\d\d tokens/forward)";
  const std::string screen = terminal.wait([&](const std::string& now) { return has(now, line) && has(now, whole); });
  EXPECT_TRUE(has(screen, line)) << screen;
  EXPECT_TRUE(has(screen, whole)) << screen;
  EXPECT_TRUE(has(screen, "samples   divergence \\(nats\\) tok/fwd   tok/s  settings")) << screen;
  EXPECT_TRUE(has(screen, "exact samples")) << screen;
  terminal.press("C-c");
  const std::string after = terminal.wait([](const std::string& now) { return has(now, "interrupted: \\d+ of 140000 samples are done and kept"); });
  EXPECT_TRUE(has(after, "interrupted: \\d+ of 140000 samples are done and kept")) << after;
  EXPECT_TRUE(has(after, whole)) << "the last state stays: " << after;
  EXPECT_EQ(terminal.value("cursor_flag"), "1\n");
}

TEST_F(LiveView, SweepInAPipeHasPlainLinesOnly) {
  write_file(folder / "plan.toml", kPlan);
  const auto piped = shell("cd " + folder.path() + " && " + kProgram + " sweep plan.toml --limit 3 --out run");
  EXPECT_EQ(piped.exit_code, 0);
  EXPECT_EQ(piped.output.find('\033'), std::string::npos) << piped.output;
  EXPECT_EQ(piped.output.find('\r'), std::string::npos) << piped.output;
  EXPECT_TRUE(has(piped.output, "\n21/21 samples")) << piped.output;
}

TEST(LiveOption, IsNothingInAPipeAndSaysWhereItCannotBe) {
  const std::string tiny = kProgram + " generate --model 'hmm(states=4)' --canvas-length 8 --steps 2 --max-new-tokens 16";
  const auto piped = shell(tiny);
  EXPECT_EQ(piped.exit_code, 0);
  EXPECT_EQ(piped.output.find('\033'), std::string::npos) << piped.output;
  EXPECT_EQ(shell(tiny + " --no-live").exit_code, 0);
  const auto asked = shell(tiny + " --live");
  EXPECT_EQ(asked.exit_code, 2);
  EXPECT_NE(asked.output.find("--live draws on the terminal behind stderr, and there is none"), std::string::npos) << asked.output;
  EXPECT_EQ(shell(tiny + " --live --json").exit_code, 2);
  EXPECT_NE(shell(tiny + " --live --batch 2").output.find("--live draws one sequence at a time"), std::string::npos);
}

}  // namespace
}  // namespace canvaslab
