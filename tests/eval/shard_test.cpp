// Which part of a sweep a batch system's environment assigns.
#include "eval/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.h"

namespace canvaslab {
namespace {

using Variables = std::map<std::string, std::string>;

Shard shard_in(const Variables& variables) {
  return shard_of_environment([&](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? std::string() : at->second;
  });
}

std::pair<uint32_t, uint32_t> part(const Variables& variables) {
  const Shard shard = shard_in(variables);
  return {shard.index, shard.count};
}

using Part = std::pair<uint32_t, uint32_t>;

TEST(Shard, OfNothingIsTheWhole) {
  EXPECT_EQ(part({}), Part(1, 1));
  EXPECT_EQ(shard_in({}).source, "");
}

TEST(Shard, OfAnArrayJob) {
  // sbatch --array=5-17:4 gives the ids 5, 9, 13, 17.
  Variables slurm = {{"SLURM_ARRAY_TASK_MIN", "5"}, {"SLURM_ARRAY_TASK_MAX", "17"}, {"SLURM_ARRAY_TASK_STEP", "4"}, {"SLURM_ARRAY_TASK_COUNT", "4"}};
  std::set<uint32_t> seen;
  for (const char* id : {"5", "9", "13", "17"}) {
    slurm["SLURM_ARRAY_TASK_ID"] = id;
    EXPECT_EQ(shard_in(slurm).count, 4u);
    EXPECT_EQ(shard_in(slurm).source, "SLURM_ARRAY_TASK_ID");
    seen.insert(shard_in(slurm).index);
  }
  EXPECT_THAT(seen, ::testing::ElementsAre(1, 2, 3, 4));
}

TEST(Shard, OfTasksWithinAnArrayJobCoversEachPartOnce) {
  std::set<uint32_t> seen;
  for (int id = 0; id < 3; ++id)
    for (int rank = 0; rank < 2; ++rank) {
      const Shard shard = shard_in({{"SLURM_ARRAY_TASK_ID", std::to_string(id)}, {"SLURM_ARRAY_TASK_MIN", "0"}, {"SLURM_ARRAY_TASK_MAX", "2"},
                                    {"SLURM_ARRAY_TASK_COUNT", "3"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", std::to_string(rank)}});
      EXPECT_EQ(shard.count, 6u);
      seen.insert(shard.index);
    }
  EXPECT_THAT(seen, ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Shard, OfABatchScriptOutsideSrunIsTheWhole) {
  EXPECT_EQ(part({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}), Part(1, 1));
  EXPECT_EQ(part({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}}), Part(3, 4));
}

TEST(Shard, OfMpiProcesses) {
  EXPECT_EQ(part({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "8"}}), Part(4, 8));
  EXPECT_EQ(part({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}), Part(1, 2));
  EXPECT_EQ(part({{"PMI_RANK", "0"}}), Part(1, 1));
}

TEST(Shard, NumbersThatMakeNoSenseAreRefused) {
  const Variables uneven = {{"SLURM_ARRAY_TASK_ID", "3"}, {"SLURM_ARRAY_TASK_MIN", "1"}, {"SLURM_ARRAY_TASK_MAX", "7"}, {"SLURM_ARRAY_TASK_COUNT", "3"}};
  EXPECT_THROW(shard_in(uneven), UserError);  // --array=1,3,7
  EXPECT_THROW(shard_in({{"PMI_RANK", "2"}, {"PMI_SIZE", "2"}}), UserError);
  EXPECT_THROW(shard_in({{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "2"}}), UserError);
  EXPECT_THROW(shard_in({{"SLURM_STEP_NUM_TASKS", "4"}}), UserError);
}

TEST(Shard, AsWritten) {
  EXPECT_EQ(parse_shard("3/8").index, 3u);
  EXPECT_EQ(parse_shard("3/8").count, 8u);
  for (const char* bad : {"3", "0/2", "3/2", "a/b", "1/0", "1/99999999", ""}) EXPECT_THROW(parse_shard(bad), UserError) << bad;
}

}  // namespace
}  // namespace canvaslab
