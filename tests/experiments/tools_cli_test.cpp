// Tools on the command line and in a sweep: they reach the prompt, or are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/h5.h"
#include "core/json.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

class ToolsOptions : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy(CANVASLAB_SOURCE_DIR "/tests/network/goldens/text", folder_ / "model", std::filesystem::copy_options::recursive);
    std::filesystem::copy_file(CANVASLAB_SOURCE_DIR "/tests/fixtures/text/tools.jinja", folder_ / "model/chat_template.jinja", std::filesystem::copy_options::overwrite_existing);
    write_file(folder_ / "tools.json", R"([{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}])");
  }
  ShellResult run(const std::string& arguments) const { return shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' " + arguments); }
  TemporaryFolder folder_;
};

TEST_F(ToolsOptions, GenerateOffersThemAsAJsonLineDoes) {
  const std::string end = " --steps 3 --max-new-tokens 16 --seed 3 --json 2>/dev/null";
  const auto tokens = [&](const std::string& arguments) {
    const auto result = run("generate --model model " + arguments + end);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return parse_json(result.output)["token_ids"];
  };
  write_file(folder_ / "line.jsonl", R"({"messages": [{"role": "user", "content": "Rain?"}], "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]})");
  const Json with = tokens("--prompt 'Rain?' --tools tools.json");
  EXPECT_EQ(with, tokens("--jsonl line.jsonl"));
  EXPECT_NE(with, tokens("--prompt 'Rain?'")) << "they must change the prompt, or nothing was tested";
}

TEST_F(ToolsOptions, ASweepPutsThemIntoEveryPromptAndRegradesWithThem) {
  write_file(folder_ / "q.jsonl", "{\"prompt\": \"Rain?\", \"answer\": \"no\"}\n{\"prompt\": \"Snow?\", \"answer\": \"yes\"}\n");
  write_file(folder_ / "s.toml", "[denoiser]\nmodel = \"model\"\n[dataset]\nname = \"jsonl(file=q.jsonl)\"\n[grid]\nsampler = \"fixed_step\"\nsteps = 2\nmax_new_tokens = 16\n");
  ASSERT_EQ(run("sweep s.toml --quiet --out plain").exit_code, 0);
  const auto result = run("sweep s.toml --quiet --out tools --set denoiser.tools='\"tools.json\"'");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto lengths = [&](const std::string& out) { return H5Reader(folder_ / (out + "/run.h5")).read<int32_t>("samples/num_prompt_tokens"); };
  for (size_t i = 0; i < 2; ++i) EXPECT_GT(lengths("tools").at(i), lengths("plain").at(i) + 10);
  const auto again = run("regrade tools");
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_EQ(h5_difference(folder_ / "tools/run.h5", folder_ / "tools/regraded/run.h5"), "");
}

TEST_F(ToolsOptions, AreRefusedWhereTheyWouldGoUnseen) {
  const auto refuses = [&](const std::string& arguments, int code, const std::string& word) {
    const auto result = run(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(word)) << arguments;
  };
  refuses("generate --model model --prompt-ids '2 5' --tools tools.json", 2, "--prompt-ids");
  refuses("generate --model model --prompt x --no-chat --tools tools.json", 2, "--no-chat");
  refuses("generate --model 'hmm(states=4)' --prompt x --tools tools.json", 2, "tokenizer");
  refuses("generate --model model --prompt x --tools nothing.json", 3, "nothing.json");
  std::filesystem::copy_file(CANVASLAB_SOURCE_DIR "/tests/network/goldens/text/chat_template.jinja", folder_ / "model/chat_template.jinja", std::filesystem::copy_options::overwrite_existing);
  refuses("generate --model model --prompt x --tools tools.json", 2, "no effect");
}

}  // namespace
}  // namespace canvaslab
