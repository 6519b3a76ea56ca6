// canvaslab merge: shards joined equal the whole; what is missing, foreign or contradictory is named.
#include <gtest/gtest.h>

#include "eval/journal.h"
#include "eval/merge.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;

constexpr const char* kPlan = R"toml([run]
name = "small"
seed = [1, 5]
repeats = 2
record = "positions"
[denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "source(items=12)"
[[grid]]
sampler = ["entropy_bound(0.1)", "ddim"]
steps = [2, 4]
canvas_length = [6, 8]
[[grid]]
sampler = "fixed_step"
stop = "any_of(entropy(0.5), token_stability)"
self_conditioning = false
steps = 3
anneal_over = 5
canvas_length = 4
max_new_tokens = 8
temperature = "linear_remaining(t_min=0.4, t_max=0.8)"
)toml";

class MergeCommand : public ::testing::Test {
 protected:
  MergeCommand() { write_file(folder / "plan.toml", kPlan); }
  void sweep(const std::string& run, const std::string& more = "") const {
    const auto result = shell(kProgram + " sweep " + (folder / "plan.toml") + " --threads 2 --quiet --out " + (folder / run) + " " + more);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  void shards(const std::string& run, int count, int but = 0) const {
    for (int i = 1; i <= count; ++i)
      if (i != but) sweep(run, "--shard " + std::to_string(i) + "/" + std::to_string(count));
  }
  std::string journal(const std::string& run, int i, int count) const {
    return folder / (run + "/run-" + std::to_string(i) + "-of-" + std::to_string(count) + ".journal");
  }
  ShellResult merge(const std::string& arguments) const { return shell("cd " + folder.path() + " && " + kProgram + " merge " + arguments); }
  TemporaryFolder folder;
};

TEST_F(MergeCommand, ShardsJoinToTheWholeRunDatasetForDataset) {
  sweep("whole");
  shards("parts", 3);
  std::vector<std::string> before;
  for (int i = 1; i <= 3; ++i) before.push_back(read_file(journal("parts", i, 3)));
  const auto result = merge("parts");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(h5_difference(folder / "whole/run.h5", folder / "parts/run.h5"), "");
  EXPECT_NE(h5_difference(folder / "parts/run-1-of-3.h5", folder / "parts/run.h5"), "") << "the comparison must see missing samples";
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(read_file(journal("parts", i, 3)), before[static_cast<size_t>(i - 1)]) << "journals are only read";
  EXPECT_FALSE(std::filesystem::exists(folder / "parts/run.journal"));
  const auto name = shell(kProgram + " inspect " + (folder / "parts/run.h5") + " --json");
  EXPECT_NE(name.output.find("\"small\""), std::string::npos) << name.output.substr(0, 400);
}

TEST_F(MergeCommand, AMissingShardAndAnUnfinishedOneAreNamed) {
  shards("parts", 3, 2);
  const auto result = merge("parts");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.output.find("shard 2/3 is not there: "), std::string::npos) << result.output;
  EXPECT_EQ(result.output.find("shard 1/3"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("missing: item sample-0000"), std::string::npos) << result.output;
  EXPECT_FALSE(std::filesystem::exists(folder / "parts/run.h5"));
  sweep("parts", "--shard 2/3");
  std::filesystem::resize_file(journal("parts", 3, 3), std::filesystem::file_size(journal("parts", 3, 3)) - 5);
  const auto torn = merge("parts");
  EXPECT_EQ(torn.exit_code, 3);
  EXPECT_NE(torn.output.find("shard 3/3 is not finished: 1 of "), std::string::npos) << torn.output;
}

TEST_F(MergeCommand, EqualOverlapsAreFineAndDifferentOnesAreNot) {
  sweep("whole");
  shards("two", 2);
  shards("three", 3, 3);
  const auto result = merge("two three --out joined");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("found twice with equal content"), std::string::npos) << result.output;
  EXPECT_EQ(h5_difference(folder / "whole/run.h5", folder / "joined/run.h5"), "");
  // One token changed in a copy of a shard's first sample.
  const ShardJournal shard = read_shard(journal("three", 1, 3));
  SampleRecord wrong = shard.samples.front();
  wrong.token_ids[0] ^= 1;
  { JournalWriter(folder / "wrong.journal", shard.plan + "shard 1/3\n").append(wrong); }
  const auto refused = merge("two wrong.journal --out refused");
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.output.find("hold different results of one sample: item "), std::string::npos) << refused.output;
  EXPECT_NE(refused.output.find("wrong.journal"), std::string::npos) << refused.output;
  EXPECT_FALSE(std::filesystem::exists(folder / "refused"));
}

TEST_F(MergeCommand, AFailureGivesWayToALaterSuccessAndElseIsCounted) {
  shards("parts", 2);
  const ShardJournal shard = read_shard(journal("parts", 1, 2));
  const SampleRecord& first = shard.samples.front();
  SampleRecord failed;
  failed.config_idx = first.config_idx, failed.item_idx = first.item_idx, failed.repeat = first.repeat, failed.seed = first.seed;
  failed.content_key = first.content_key, failed.error = "the grader broke";
  failed.stop_reason = "error";
  {
    JournalWriter writer(folder / "again.journal", shard.plan + "shard 1/2\n");
    writer.append(failed);
    for (size_t i = 1; i < shard.samples.size(); ++i) writer.append(shard.samples[i]);
  }
  const auto covered = merge("again.journal parts --out covered");
  EXPECT_EQ(covered.exit_code, 0) << covered.output;
  const auto alone = merge("again.journal parts/run-2-of-2.journal --out alone");
  EXPECT_EQ(alone.exit_code, 4) << alone.output;
  EXPECT_NE(alone.output.find("1 samples failed"), std::string::npos) << alone.output;
}

TEST_F(MergeCommand, ShardsOfASubsetJoinToo) {
  const std::string subset = "--set dataset.subset=5 --set dataset.subset_seed=9 ";
  sweep("whole", subset);
  for (int i = 1; i <= 2; ++i) sweep("parts", subset + "--shard " + std::to_string(i) + "/2");
  const auto result = merge("parts");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(h5_difference(folder / "whole/run.h5", folder / "parts/run.h5"), "");
}

TEST_F(MergeCommand, MistakesAreNamed) {
  shards("parts", 2);
  sweep("other", "--shard 2/2 --set run.repeats=3");
  const auto foreign = merge("parts/run-1-of-2.journal other --out x");
  EXPECT_EQ(foreign.exit_code, 2);
  EXPECT_NE(foreign.output.find("other/run-2-of-2.journal: belongs to another plan"), std::string::npos) << foreign.output;
  EXPECT_NE(foreign.output.find("repeats 3"), std::string::npos) << foreign.output;
  EXPECT_EQ(merge("nowhere").exit_code, 3);
  EXPECT_EQ(merge("").exit_code, 2);
  std::filesystem::create_directory(folder / "empty");
  const auto none = merge("empty");
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_NE(none.output.find("holds no shard journals"), std::string::npos) << none.output;
  EXPECT_EQ(merge("plan.toml").exit_code, 3);
  sweep("parts");
  const auto held = merge("parts");
  EXPECT_EQ(held.exit_code, 2);
  EXPECT_NE(held.output.find("already holds an unsharded run"), std::string::npos) << held.output;
}

}  // namespace
}  // namespace canvaslab
