// The program itself on a checkpoint that transformers wrote: generate --trace, --json, and logits.
#include <gtest/gtest.h>

#include <cmath>

#include <nlohmann/json.hpp>

#include "core/h5.h"
#include "tests/network/parity.h"
#include "tests/support/program.h"

namespace canvaslab {
namespace {

using testing::TempFolder;
const std::string kGoldens = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/";

testing::Outcome run(const std::vector<std::string>& arguments, const TempFolder& folder) {
  auto outcome = testing::run_program(CANVASLAB_PROGRAM, arguments, folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome;
}

template <typename T>
void expect_same(const H5Reader& file, const std::string& name, const std::vector<T>& theirs) { EXPECT_EQ(file.read<T>(name), theirs) << name; }

class Program : public ::testing::TestWithParam<std::string> {};

TEST_P(Program, TracesTheReferencesRun) {
  const std::string model = kGoldens + GetParam();
  const parity::Recording theirs(model + "/reference.h5");
  const TempFolder folder;
  nlohmann::json prompts;
  std::string lines;
  for (const auto& prompt : theirs.prompts) lines += nlohmann::json{{"prompt_ids", prompt}}.dump() + "\n";
  testing::write_text(folder.path() / "prompts.jsonl", lines);
  const auto outcome = run({"generate", "--model", model, "--jsonl", "prompts.jsonl", "--batch", std::to_string(theirs.batch), "--rng", "torch", "--seed",
                            std::to_string(theirs.seed), "--trace", "t.h5", "--trace-logits", "--json"}, folder);
  const H5Reader trace(folder.file("t.h5"));
  expect_same(trace, "steps/canvas_idx", theirs.canvas_idx);
  expect_same(trace, "steps/step_idx", theirs.step_idx);
  expect_same(trace, "steps/temperature", theirs.temperature);
  expect_same(trace, "steps/canvas_in", theirs.canvas_in);
  expect_same(trace, "steps/candidate", theirs.candidate);
  expect_same(trace, "steps/argmax", theirs.argmax);
  expect_same(trace, "steps/canvas_out", theirs.canvas_out);
  const auto logits = trace.read<float>("steps/logits");
  ASSERT_EQ(logits.size(), theirs.logits.size());
  float largest = 0, worst = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    largest = std::max(largest, std::abs(theirs.logits[i]));
    worst = std::max(worst, std::abs(logits[i] - theirs.logits[i]));
  }
  EXPECT_LE(worst, 2e-5f * largest);

  // stdout: one object a prompt, in order, and nothing else.
  std::istringstream out(outcome.out);
  size_t row = 0;
  for (std::string line; std::getline(out, line); ++row) {
    const auto object = nlohmann::json::parse(line);
    ASSERT_LT(row, theirs.batch);
    std::vector<int32_t> expected(theirs.tokens.begin() + static_cast<ptrdiff_t>(row * theirs.tokens.size() / theirs.batch),
                                  theirs.tokens.begin() + static_cast<ptrdiff_t>((row + 1) * theirs.tokens.size() / theirs.batch));
    const int32_t pad = object["config"]["pad_id"].get<int32_t>();
    while (!expected.empty() && expected.back() == pad) expected.pop_back();
    EXPECT_EQ(object["token_ids"].get<std::vector<int32_t>>(), expected);
    EXPECT_FLOAT_EQ(object["tokens_per_forward"].get<float>(), theirs.tokens_per_forward[row]);
    EXPECT_TRUE(object["text"].is_null());
    for (const char* key : {"stop_reason", "num_canvases", "steps_per_canvas", "forwards", "tokens_per_forward_report", "seconds", "config"}) EXPECT_TRUE(object.contains(key)) << key;
  }
  EXPECT_EQ(row, theirs.batch);
}

INSTANTIATE_TEST_SUITE_P(Goldens, Program, ::testing::Values("heads", "early_stop", "batch_one_ends", "pad_id"), [](const auto& param) { return param.param; });

/// A text prompt through chat template and tokenizer, and the text that the tokens spell.
TEST(Generate, TakesATextPromptAndGivesTheReferencesText) {
  const std::string model = kGoldens + "text";
  const parity::Recording theirs(model + "/reference.h5");
  const TempFolder folder;
  const std::string seed = std::to_string(theirs.seed);
  const auto object = nlohmann::json::parse(run({"generate", "--model", model, "--prompt", "What is 2+2?", "--rng", "torch", "--seed", seed, "--json"}, folder).out);
  EXPECT_EQ(object["text"].get<std::string>(), testing::read_text(model + "/text.txt"));
  auto tokens = object["token_ids"].get<std::vector<int32_t>>();
  tokens.resize(theirs.tokens.size(), 0);
  EXPECT_EQ(tokens, theirs.tokens);
  // Without the template the prompt is another one.
  const auto plain = nlohmann::json::parse(run({"generate", "--model", model, "--prompt", "What is 2+2?", "--no-chat", "--rng", "torch", "--seed", seed, "--json"}, folder).out);
  EXPECT_NE(plain["token_ids"], object["token_ids"]);
  // The same prompt in a sweep.
  testing::write_text(folder.path() / "prompts.jsonl", "{\"id\": \"sum\", \"prompt\": \"What is 2+2?\"}\n");
  testing::write_text(folder.path() / "s.toml", fmt::format("[denoiser]\nmodel = \"{}\"\n[dataset]\nname = \"prompts(path=prompts.jsonl)\"\n[grid]\nsampler = [\"entropy_bound\"]\n", model));
  run({"sweep", "s.toml", "--out", "run"}, folder);
  EXPECT_EQ(H5Reader(folder.file("run/run.h5")).read<int32_t>("items/prompt_len"), std::vector<int32_t>{static_cast<int32_t>(theirs.prompts[0].size())});
}

TEST(LogitsCommand, GivesTheReferencesLogitsOnGivenCanvases) {
  const std::string model = kGoldens + "schedule";
  const parity::Recording theirs(model + "/reference.h5");
  const size_t L = theirs.length, V = theirs.vocabulary;
  size_t count = 0;
  while (count < theirs.num_steps && theirs.canvas_idx[count] == 0) ++count;
  const TempFolder folder;
  {
    H5Writer in(folder.file("in.h5"));
    in.write("prompt_ids", theirs.prompts[0]);
    in.write<int32_t>("canvas", std::span(theirs.canvas_in).subspan(0, count * L), {count, L});
    std::vector<float> feedback(count * L * V);
    std::vector<uint8_t> has(count, 1);
    has[0] = 0;
    for (size_t s = 1; s < count; ++s)
      for (size_t i = 0; i < L * V; ++i) feedback[s * L * V + i] = theirs.logits[(s - 1) * L * V + i] / theirs.temperature[s - 1];
    in.write<float>("self_conditioning", feedback, {count, L, V});
    in.write("has_self_conditioning", has);
    in.finish();
  }
  run({"logits", "--model", model, "--in", "in.h5", "--out", "out.h5"}, folder);
  const H5Reader out(folder.file("out.h5"));
  EXPECT_EQ(out.shape("logits"), (std::vector<hsize_t>{count, L, V}));
  const auto ours = out.read<float>("logits");
  for (size_t s = 0; s < count; ++s) {
    float largest = 0, worst = 0;
    size_t at = 0;
    for (size_t i = s * L * V; i < (s + 1) * L * V; ++i) {
      largest = std::max(largest, std::abs(theirs.logits[i]));
      if (const float error = std::abs(ours[i] - theirs.logits[i]); !(error <= worst)) {
        worst = error;
        at = i;
      }
    }
    EXPECT_LE(worst, 2e-5f * largest) << "canvas " << s << ", position " << at / V % L << ", token " << at % V;
  }
  // Without the feedback the later canvases' logits are others: the comparison can fail.
  const auto alone = [&] {
    H5Writer in(folder.file("in2.h5"));
    in.write("prompt_ids", theirs.prompts[0]);
    in.write<int32_t>("canvas", std::span(theirs.canvas_in).subspan(0, count * L), {count, L});
    in.finish();
    run({"logits", "--model", model, "--in", "in2.h5", "--out", "out2.h5"}, folder);
    return H5Reader(folder.file("out2.h5")).read<float>("logits");
  }();
  float change = 0;
  for (size_t i = L * V; i < alone.size(); ++i) change = std::max(change, std::abs(alone[i] - ours[i]));
  EXPECT_GT(change, 1e-3f);
}

TEST(LogitsCommand, RefusesFilesThatDoNotFit) {
  const TempFolder folder;
  H5Writer in(folder.file("in.h5"));
  in.write("prompt_ids", std::vector<int32_t>{2, 3});
  in.write<int32_t>("canvas", std::vector<int32_t>{1, 2, 200}, {1, 3});
  in.finish();
  const auto outcome = testing::run_program(CANVASLAB_PROGRAM, {"logits", "--model", kGoldens + "base", "--in", "in.h5", "--out", "out.h5"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.err.find("token id 200 at position 2"), std::string::npos) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out.h5"));
}

}  // namespace
}  // namespace canvaslab
