// The lines that a sweep shows on a terminal, and what progress counts.
#include "eval/sweep_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "core/json.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PreparedSweep prepared(const std::string& grid) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"source(items=40)\"\n[grid]\nmax_new_tokens = 4\ncanvas_length = 4\n" + grid);
  return prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr);
}

SampleRecord sample(uint32_t config, uint32_t item, double seconds) {
  SampleRecord out;
  out.config_idx = config, out.item_idx = item, out.score = 1.5;
  out.token_ids = {0, 1, 2, 3};
  out.forwards.denoise = 2;
  out.seconds.denoise = seconds;
  return out;
}

TEST(ShortLabels, HoldTheSamplerAndWhatDiffers) {
  EXPECT_THAT(short_labels({"sampler=ddim; stop=never; num_steps=2; rng=counter", "sampler=confidence_threshold(threshold=0.9, mode=locked); stop=all_revealed; num_steps=4; rng=counter", "control=exact samples; canvas_length=4"}),
              ElementsAre("ddim", "confidence_threshold(0.9, locked)", "exact samples")) << "each sampler has one step limit and stop rule: they tell nothing more";
  EXPECT_THAT(short_labels({"sampler=ddim; stop=never; temperature=constant(value=1); num_steps=2", "sampler=ddim; stop=never; temperature=constant(value=1); num_steps=4",
                            "sampler=fixed_step; stop=stable; temperature=constant(value=0.5); num_steps=2", "sampler=ar(temperature=0); stop=never; temperature=constant(value=9); num_steps=1"}),
              ElementsAre("ddim steps=2 temperature=constant(1)", "ddim steps=4 temperature=constant(1)", "fixed_step steps=2 temperature=constant(0.5)", "ar(0) steps=1 temperature=constant(9)"));
  EXPECT_THAT(short_labels({"sampler=ddim; temperature=constant(value=1); num_steps=2", "sampler=ar(temperature=0); temperature=constant(value=9); num_steps=1"}), ElementsAre("ddim", "ar(0)"));
}

TEST(SweepView, HasALineAConfigurationAndTheWhole) {
  const auto sweep = prepared("sampler = [\"ddim\", \"fixed_step\"]\nsteps = 2\n");
  ProgressMeter meter(sweep);
  meter.expect({{0, 40}, {1, 40}, {2, 40}});
  for (uint32_t item = 0; item < 10; ++item) meter.add_run(sample(0, item, 0.5));
  SampleRecord failed = sample(1, 0, 0);
  failed.error = "it broke";
  meter.add_run(failed);
  const auto lines = sweep_lines(meter, short_labels(sweep.settings_text), {});
  ASSERT_EQ(lines.size(), 5u);  // heading, two samplers, exact samples, the whole
  EXPECT_EQ(lines[0], "        samples   divergence (nats) tok/fwd   tok/s  settings");
  EXPECT_THAT(lines[1], HasSubstr("2.00       8  ddim"));  // 4 tokens in 2 forwards, in half a second
  EXPECT_THAT(lines[1], HasSubstr("  0       10/40"));
  EXPECT_THAT(lines[1], HasSubstr(" +- "));
  EXPECT_THAT(lines[2], HasSubstr("1/40"));
  EXPECT_THAT(lines[2], HasSubstr("1 FAILED  fixed_step"));
  EXPECT_THAT(lines[4], HasSubstr("11/120 samples  1 failed"));
  // The divergence is the aggregates' own number.
  std::vector<std::vector<int32_t>> tokens(10, {0, 1, 2, 3});
  std::vector<std::span<const int32_t>> sequences(tokens.begin(), tokens.end());
  const std::vector<uint32_t> items = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const Divergence divergence = pair_divergence(sequences, items, sweep.denoiser->source()->pair_law(), 5);
  EXPECT_DOUBLE_EQ(meter.quality(meter.configs()[0]).mean, divergence.value);
  EXPECT_DOUBLE_EQ(meter.quality(meter.configs()[0]).standard_error, divergence.standard_error);
}

TEST(SweepView, KeepsToTheScreenAndShowsTheWorkFirst) {
  const auto sweep = prepared("sampler = \"ddim\"\nsteps = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]\n");
  ProgressMeter meter(sweep);
  std::map<uint32_t, size_t> planned;
  for (uint32_t c = 0; c < 13; ++c) planned[c] = 1;
  meter.expect(planned);
  for (uint32_t c = 0; c < 9; ++c) meter.add_found(sample(c, 0, 1));
  const auto lines = sweep_lines(meter, short_labels(sweep.settings_text), {.columns = 40, .rows = 10});
  EXPECT_EQ(lines.size(), 9u);
  for (const auto& line : lines) EXPECT_LE(line.size(), 40u);
  EXPECT_THAT(lines[1], HasSubstr("  0         1/1"));
  EXPECT_THAT(lines[3], HasSubstr("  9         0/1"));  // 9 to 12 are at work, 0 and 1 fill the room
  EXPECT_THAT(lines[7], HasSubstr("... and 7 more configurations; 9 of 13"));
}

TEST(Progress, TimeLeftCountsEveryConfigurationAtItsOwnPace) {
  const auto sweep = prepared("sampler = [\"ddim\", \"fixed_step\"]\nsteps = 2\n");
  const auto now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  const double before = now();
  ProgressMeter paced(sweep);
  const double begun = now();
  paced.expect({{0, 40}, {1, 40}});
  EXPECT_FALSE(paced.eta_seconds());
  for (uint32_t item = 0; item < 40; ++item) paced.add_run(sample(0, item, 0.25));
  paced.add_run(sample(1, 0, 10));
  // 39 samples of ten seconds are left; 20 seconds of generating went into the time that has passed.
  const double asked = now(), eta = *paced.eta_seconds(), answered = now();
  EXPECT_GE(eta, 39 * 10.0 * (asked - begun) / 20 * (1 - 1e-9));
  EXPECT_LE(eta, 39 * 10.0 * (answered - before) / 20 * (1 + 1e-9));
  ProgressMeter meter(sweep);
  meter.expect({{0, 1}});
  meter.add_run(sample(0, 0, 1));
  meter.add_found(sample(1, 0, 1));  // of a later stage: no part of what is wanted now
  EXPECT_EQ(meter.done(), 1u);
  EXPECT_TRUE(meter.finished());
  EXPECT_EQ(*meter.eta_seconds(), 0);
  EXPECT_EQ(parse_json(meter.json())["total"], 1);
}

}  // namespace
}  // namespace canvaslab
