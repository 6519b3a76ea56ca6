// canvaslab quantize on the command line: what it writes runs, and what cannot be is refused or leaves nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/json.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

class Quantize : public ::testing::Test {
 protected:
  ShellResult run(const std::string& arguments) const { return shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' " + arguments); }
  Json json(const std::string& arguments) const { return parse_json(shell("cd '" + folder_.path() + "' && '" CANVASLAB_PROGRAM "' " + arguments + " 2>/dev/null").output); }
  TemporaryFolder folder_;
};

TEST_F(Quantize, WhatItWritesRunsAndTellsWhatItIs) {
  for (const char* format : {"fp8", "NVFP4", "int4"}) {
    const auto made = run(std::string("quantize small --compare 1 --out out --to ") + format);
    ASSERT_EQ(made.exit_code, 0) << made.output;
    EXPECT_THAT(made.output, HasSubstr("100% of"));
    EXPECT_THAT(made.output, HasSubstr("experts"));
    EXPECT_THAT(made.output, HasSubstr("same argmax"));
    const Json facts = json("inspect out --json");
    EXPECT_GT(facts["groups"]["experts"]["num_quantised"], 0);
    EXPECT_FALSE(facts.contains("warning"));
    EXPECT_LT(facts["memory_bytes"]["packed"]["weights"], facts["memory_bytes"]["f32"]["weights"]);
    for (const char* dtype : {"f32", "bf16"}) {
      const Json answer = json(std::string("generate --model out --prompt '6+7-5=' --max-new-tokens 32 --seed 1 --json --dtype ") + dtype);
      EXPECT_FALSE(answer["token_ids"].empty()) << format << " " << dtype;
    }
    const auto again = run(std::string("quantize small --out out --to ") + format);
    EXPECT_EQ(again.exit_code, 2);
    EXPECT_THAT(again.output, HasSubstr("exists already"));
    std::filesystem::remove_all(folder_ / "out");
  }
}

TEST_F(Quantize, MistakesAreNamed) {
  const auto unknown = run("quantize small --to fp7 --out out");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.output, HasSubstr("did you mean 'fp8'"));
  EXPECT_EQ(run("quantize nowhere --to fp8 --out out").exit_code, 3);
  EXPECT_EQ(run("quantize small --to fp8 --out /proc/out").exit_code, 3);
}

/// A limit on file sizes fails writes as a full disk does.
TEST_F(Quantize, AFullDiskLeavesNothing) {
  const auto full = shell("cd '" + folder_.path() + "' && ulimit -f 200 && '" CANVASLAB_PROGRAM "' quantize small --to fp8 --out out");
  EXPECT_EQ(full.exit_code, 3) << full.output;
  EXPECT_THAT(full.output, HasSubstr("free space"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace canvaslab
