// A sweep over step limits keeps the temperature's ramp.
#include <gtest/gtest.h>

#include "core/error.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// Step limit and ramp length of each configuration of a grid on a source, whose own step limit is 32.
std::vector<std::pair<int32_t, int32_t>> ramps_of(const std::string& grid) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"source(items=6)\"\n[[grid]]\nsampler = \"entropy_bound\"\ncanvas_length = 8\n" + grid);
  const PreparedSweep sweep = prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr);
  std::vector<std::pair<int32_t, int32_t>> out;
  for (size_t c = 0; c < sweep.plan.configs.size(); ++c)
    if (!sweep.plan.configs[c].control) out.emplace_back(sweep.generation[c].num_steps, sweep.generation[c].anneal_over);
  return out;
}

using Ramps = std::vector<std::pair<int32_t, int32_t>>;

TEST(Ramp, SeveralStepLimitsShareTheModelsRamp) { EXPECT_EQ(ramps_of("steps = [4, 8]\n"), (Ramps{{4, 32}, {8, 32}})); }

TEST(Ramp, LimitsInSeveralGridsShareItToo) {
  EXPECT_EQ(ramps_of("steps = 4\n[[grid]]\nsampler = \"ddim\"\nsteps = 8\ncanvas_length = 8\n"), (Ramps{{4, 32}, {8, 32}}));
}

TEST(Ramp, ASingleLimitHasItsOwnRamp) { EXPECT_EQ(ramps_of("steps = 4\ntemperature = [\"linear_remaining\", \"constant(1)\"]\n"), (Ramps{{4, 4}, {4, 4}})); }

TEST(Ramp, WhatIsSaidCounts) {
  EXPECT_EQ(ramps_of("steps = [4, 8]\nanneal_over = 6\n"), (Ramps{{4, 6}, {8, 6}}));
  EXPECT_EQ(ramps_of("steps = [4, 8]\nanneal_over = \"steps\"\n"), (Ramps{{4, 4}, {8, 8}}));
  EXPECT_EQ(ramps_of("steps = [4, 8]\nanneal_over = [6, 7]\n"), (Ramps{{4, 6}, {8, 6}, {4, 7}, {8, 7}}));
}

TEST(Ramp, OtherWordsAreRefused) {
  for (const char* grid : {"steps = [4, 8]\nanneal_over = \"step\"\n", "anneal_over = \"steps\"\n"}) {
    try {
      ramps_of(grid);
      FAIL() << grid;
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_NE(std::string(error.what()).find("plan.toml:"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("'anneal_over' is"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace canvaslab
