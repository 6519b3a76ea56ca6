// canvaslab generate over several prompts, some of which fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

/// Objects of a JSONL text.
std::vector<json> objects(const std::string& text) {
  std::vector<json> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
  return out;
}

TEST(GenerateCommand, APromptThatFailsFailsAlone) {
  const TemporaryFolder folder;
  write_file(folder / "p.jsonl", "{\"prompt_ids\": [1, 2]}\n{\"prompt_ids\": [77]}\n{\"prompt_ids\": [3]}\n{\"prompt_ids\": [2]}\n");
  const auto run = [&](const std::string& rest) {
    return shell("cd " + folder.path() + " && " + CANVASLAB_PROGRAM + " generate --model 'hmm(states=3, alphabet=9, length=8)' --steps 3 --jsonl p.jsonl " + rest);
  };
  const auto alone = run("--json 2> err.txt");
  EXPECT_EQ(alone.exit_code, 4);
  const auto lines = objects(alone.output);
  ASSERT_EQ(lines.size(), 4u) << "one object a prompt, in input order";
  for (const size_t i : {0, 2, 3}) EXPECT_EQ(lines[i]["token_ids"].size(), 8u) << i;
  EXPECT_TRUE(lines[1]["token_ids"].is_null());
  EXPECT_THAT(lines[1]["error"].get<std::string>(), HasSubstr("token id 77"));
  EXPECT_THAT(shell("cat " + folder.path() + "/err.txt").output, HasSubstr("1 of 4 prompts failed"));
  for (const char* batch : {"--batch 4 --threads 3", "--batch 2 --threads 1"}) {
    const auto again = objects(run(std::string(batch) + " --json 2> err.txt").output);
    ASSERT_EQ(again.size(), 4u) << batch;
    for (const size_t i : {0, 2, 3}) EXPECT_EQ(again[i]["token_ids"], lines[i]["token_ids"]) << batch;
  }
  const auto joint = run("--rng torch --batch 2 --json 2> err.txt");
  EXPECT_EQ(joint.exit_code, 4);
  const auto pairs = objects(joint.output);
  ASSERT_EQ(pairs.size(), 4u);
  EXPECT_TRUE(pairs[0].contains("error")) << "rows that draw jointly fail together";
  EXPECT_FALSE(pairs[2].contains("error"));
  EXPECT_EQ(run("--pin '999=1' > /dev/null").exit_code, 2) << "what is wrong with every prompt is the settings' fault";
  EXPECT_EQ(run("--trace t.h5 --batch 4 > /dev/null").exit_code, 2) << "a trace is whole or none: the prompt's own mistake";
  EXPECT_EQ(shell("cd " + folder.path() + " && ls t.h5").exit_code, 2);
}

TEST(SpeculateCommand, MeasuresAnyModelWithACausalMode) {
  const auto run = [](const std::string& arguments) { return shell(std::string(CANVASLAB_PROGRAM) + " speculate " + arguments); };
  const auto source = run("'hmm(states=3, alphabet=5)' --texts 4 --max-new-tokens 8 --canvas-length 4 --steps 1 --steps 2");
  EXPECT_EQ(source.exit_code, 0) << source.output;
  EXPECT_THAT(source.output, HasSubstr("| `linear_spec(temperature=1, draws=coupled)` |"));
  const auto network = run(std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/base --texts 2 --max-new-tokens 4 --canvas-length 4 --temperature 0 --sampler linear_spec");
  EXPECT_EQ(network.exit_code, 0) << network.output;
  EXPECT_THAT(network.output, HasSubstr("prompts of 8 random tokens"));
  EXPECT_EQ(run("uniform").exit_code, 2);
  EXPECT_EQ(run("'hmm()' --steps 0").exit_code, 2);
}

TEST(GenerateCommand, CanvasLengthTakesAPolicy) {
  const auto run = [](const std::string& length) {
    return shell(std::string(CANVASLAB_PROGRAM) + " generate --model 'hmm(states=3, alphabet=9)' --steps 2 --max-new-tokens 16 --canvas-length '" + length + "' --json");
  };
  const json policy = json::parse(run("growing(shortest=2, longest=8)").output);
  EXPECT_EQ(policy["length_per_canvas"], json({2, 4, 8, 2}));
  EXPECT_EQ(policy["config"]["canvas_length"], "growing(shortest=2, longest=8, factor=2)");
  const json fixed = json::parse(run("8").output);
  EXPECT_EQ(fixed["config"]["canvas_length"], 8);
  EXPECT_FALSE(fixed.contains("length_per_canvas")) << "one length is said once";
  const auto wrong = run("0");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.output, HasSubstr("out of range"));
}

TEST(GenerateCommand, SelfConditioningIsTakenStoredAndReplayed) {
  const TemporaryFolder folder;
  const std::string program = "cd " + folder.path() + " && " + CANVASLAB_PROGRAM;
  const auto run = [&](const std::string& feedback, const std::string& more = "") {
    return shell(program + " generate --model " CANVASLAB_SOURCE_DIR "/tests/network/goldens/base --prompt-ids '2 5 7' --stop never --steps 6 --emit canvas --json " + more +
                 (feedback.empty() ? "" : " --self-conditioning '" + feedback + "'"));
  };
  const json on = json::parse(run("").output), stale = json::parse(run("stale(2)").output), off = json::parse(run("off").output);
  EXPECT_EQ(on["config"]["self_conditioning"], "on");
  EXPECT_EQ(off["config"]["self_conditioning"], "off");
  EXPECT_EQ(stale["config"]["self_conditioning"], "stale(every=2, inner=on)");
  EXPECT_EQ(json::parse(run("stale(1)").output)["token_ids"], on["token_ids"]);
  EXPECT_NE(stale["token_ids"], on["token_ids"]);
  EXPECT_NE(off["token_ids"], on["token_ids"]);

  const json shaped = json::parse(run("stale(2, top_k(3, temperature(0.7)))", "--trace t.h5 --trace-logits").output);
  const json again = json::parse(shell(program + " generate --replay t.h5 --json").output);
  EXPECT_EQ(again["self_differences"], 0);
  EXPECT_TRUE(again["rows"][0]["first_divergence"].is_null()) << again.dump().substr(0, 400);
  EXPECT_EQ(again["recorded"]["self_conditioning"], shaped["config"]["self_conditioning"]);

  for (const auto& [text, what] : std::vector<std::pair<std::string, std::string>>{{"stale(0)", "parameter 'every'"}, {"stail(2)", "did you mean 'stale'?"}, {"topk(2)", "did you mean 'top_k'?"}}) {
    const auto wrong = run(text);
    EXPECT_EQ(wrong.exit_code, 2) << text;
    EXPECT_THAT(wrong.output, HasSubstr(what));
  }
  const auto nothing = shell(program + " generate --model 'hmm(states=3, alphabet=9, length=8)' --self-conditioning 'stale(2)'");
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.output, HasSubstr("this denoiser feeds no prediction back"));
}

}  // namespace
}  // namespace canvaslab
