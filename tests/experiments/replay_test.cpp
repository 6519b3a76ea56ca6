// canvaslab generate --replay as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/mistakes.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kProgram = CANVASLAB_PROGRAM;

TEST(ReplayCommand, ComparesARecordedRunAndNamesMistakes) {
  const TemporaryFolder folder;
  const auto canvaslab = [&](const std::string& arguments) { return shell("cd " + folder.path() + " && " + kProgram + " " + arguments); };
  const std::string record = "generate --model 'hmm(states=4, alphabet=6, length=8)' --steps 5 --stop never --max-new-tokens 16 --seed 3 --pin '2=4' ";
  for (const std::string rng : {"counter", "torch"}) {
    write_file(folder / "p.jsonl", "{\"prompt_ids\": []}\n{\"prompt_ids\": []}\n");
    ASSERT_EQ(canvaslab(record + "--rng " + rng + " --jsonl p.jsonl --batch 2 --trace t.h5 --trace-logits --json").exit_code, 0);
    const json same = json::parse(canvaslab("generate --replay t.h5 --json").output);
    EXPECT_EQ(same["self_differences"], 0);
    EXPECT_TRUE(same["differing_settings"].empty()) << same["differing_settings"];
    ASSERT_EQ(same["rows"].size(), 2u);
    for (const auto& row : same["rows"]) {
      EXPECT_TRUE(row["first_divergence"].is_null());
      EXPECT_EQ(row["num_tokens_differ"], 0);
      EXPECT_EQ(row["canvases"].size(), 2u);
    }
    const json other = json::parse(canvaslab("generate --replay t.h5 --sampler 'entropy_bound(1)' --json").output);
    EXPECT_EQ(other["differing_settings"].size(), 1u);
    EXPECT_FALSE(other["rows"][0]["first_divergence"].is_null());
    const auto text = canvaslab("generate --replay t.h5 --sampler 'entropy_bound(1)' --first-divergence");
    EXPECT_EQ(text.exit_code, 0);
    EXPECT_THAT(text.output, HasSubstr("they part at canvas"));
    EXPECT_THAT(text.output, HasSubstr("the recorded configuration decides every step as recorded"));
  }
  ASSERT_EQ(canvaslab(record + "--trace bare.h5 --json").exit_code, 0);
  write_file(folder / "text.h5", "no HDF5");
  testing::expect_mistakes(folder.path(), {
      {"generate --replay bare.h5", 3, "record it again with --trace-logits"},
      {"generate --replay none.h5", 3, "none.h5"},
      {"generate --replay text.h5", 3, "not a readable HDF5 file"},
      {"generate --replay t.h5 --model 'hmm'", 2, "--model excludes --replay"},
      {"generate --replay t.h5 --canvas-length 4", 2, "--canvas-length excludes --replay"},
      {"generate --replay t.h5 --sampler loo_corrector", 2, "--rng torch"},
      {"generate --replay t.h5 --sampler loo_corrector --rng counter", 2, "asks for canvas forwards"},
      {"generate --replay t.h5 --sampler entropi_bound", 2, "did you mean 'entropy_bound'?"},
      {"generate --first-divergence --model hmm", 2, "--first-divergence needs --replay"},
  });
}

}  // namespace
}  // namespace canvaslab
