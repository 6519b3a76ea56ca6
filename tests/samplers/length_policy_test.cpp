// Canvas lengths that are decided on the way: each policy's rule, and what the engine makes of them.
#include "samplers/length_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/denoiser.h"
#include "core/error.h"
#include "core/sources/source.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

int32_t next_after(const std::string& policy, const std::vector<FinishedCanvas>& canvases, int32_t max_steps = 10) {
  return configure_length(policy).policy->next({.prompt = {}, .text = {}, .canvases = canvases, .max_steps = max_steps});
}

std::string refusal(const std::string& policy) {
  try {
    configure_length(policy);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(LengthPolicy, ANumberIsAFixedLengthAndStaysANumber) {
  for (const char* text : {"24", "fixed(24)", "fixed(length=24)", "growing(shortest=24, longest=24)"}) {
    const auto length = configure_length(text);
    EXPECT_EQ(length.canonical, "24") << text;
    EXPECT_FALSE(length.adaptive()) << text;
    EXPECT_EQ(length.policy->next({}), 24) << text;
  }
  EXPECT_THAT(refusal("0"), HasSubstr("0 is out of range; allowed: [1, "));
  EXPECT_THAT(refusal("2.5"), HasSubstr("'fixed'"));
  EXPECT_THAT(refusal("growin"), HasSubstr("did you mean 'growing'?"));
  EXPECT_THAT(refusal("by_steps(shortest=9, longest=8)"), HasSubstr("longest (8) is below shortest (9)"));
  EXPECT_THAT(refusal("delimiter"), HasSubstr("ids"));
  EXPECT_THAT(refusal("delimiter(ids=\"\")"), HasSubstr("expected token ids"));
}

TEST(LengthPolicy, GrowingMultipliesFromCanvasToCanvasUpToItsLimit) {
  std::vector<FinishedCanvas> canvases;
  std::vector<int32_t> lengths;
  for (int i = 0; i < 5; ++i) {
    lengths.push_back(next_after("growing(shortest=3, longest=20, factor=1.5)", canvases));
    canvases.push_back({.length = lengths.back()});
  }
  EXPECT_THAT(lengths, ElementsAre(3, 5, 7, 10, 15)) << "3 * 1.5^k = 3, 4.5, 6.75, 10.1, 15.2";
}

TEST(LengthPolicy, ByStepsGrowsAfterQuickCanvasesAndShrinksAfterExhaustedOnes) {
  const std::string policy = "by_steps(shortest=4, longest=32, few=0.5)";
  EXPECT_EQ(next_after(policy, {}), 4);
  EXPECT_EQ(next_after(policy, {{.length = 8, .num_steps = 5, .stopped = true}}), 16) << "5 of 10 steps are few";
  EXPECT_EQ(next_after(policy, {{.length = 8, .num_steps = 6, .stopped = true}}), 8);
  EXPECT_EQ(next_after(policy, {{.length = 8, .num_steps = 10, .stopped = false}}), 4);
  EXPECT_EQ(next_after(policy, {{.length = 32, .num_steps = 1, .stopped = true}}), 32);
  EXPECT_EQ(next_after(policy, {{.length = 4, .num_steps = 10, .stopped = false}}), 4);
}

TEST(LengthPolicy, ByEntropyLooksAtTheLastStepOfTheLastCanvas) {
  const std::string policy = "by_entropy(shortest=4, longest=32, sure=0.25, factor=4)";
  EXPECT_EQ(next_after(policy, {}), 4);
  EXPECT_EQ(next_after(policy, {{.length = 4, .mean_entropy_nats = 0.25f}}), 16);
  EXPECT_EQ(next_after(policy, {{.length = 4, .mean_entropy_nats = 0.25f}, {.length = 16, .mean_entropy_nats = 0.26f}}), 4);
}

TEST(LengthPolicy, DelimiterEndsTheCanvasAtTheSurestOneItExpects) {
  RowStatistics seen;
  seen.argmax = {5, 7, 1, 9, 7};
  seen.argmax_logprob = {-0.01f, -1.0f, -0.1f, -0.5f, -2.0f};
  const auto next = [&](const std::string& text) { return configure_length(text).policy->next({.prompt = {}, .text = {}, .canvases = {}, .max_steps = 1, .preview = &seen}); };
  EXPECT_EQ(next("delimiter(\"7 9\", window=5, threshold=0.3, length=3)"), 4) << "p = e^-0.5 = 0.61 at position 3 beats e^-1 = 0.37";
  EXPECT_EQ(next("delimiter(\"7\", window=5, threshold=0.3, length=3)"), 2);
  EXPECT_EQ(next("delimiter(\"7\", window=5, threshold=0.4, length=3)"), 3) << "0.37 is not sure enough";
  EXPECT_EQ(next("delimiter(\"2\", window=5, threshold=0, length=3)"), 3) << "none in sight";
}

/// Runs a policy on a source.
RowResult run(const Denoiser& denoiser, const std::string& length, PlanRequest request = {}, RowInput row = {}) {
  set_canvas_length(request, length);
  if (!request.max_new_tokens) request.max_new_tokens = 64;
  if (!request.num_steps) request.num_steps = 6;
  row.seed = 5;
  return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1))[0];
}

TEST(LengthPolicy, TheEngineCutsTheLastCanvasAndCountsEveryForward) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6)");
  PlanRequest request;
  request.sampler = "fixed_step";
  const auto row = run(*denoiser, "growing(shortest=4, longest=32)", request);
  EXPECT_THAT(row.length_per_canvas, ElementsAre(4, 8, 16, 32, 4)) << "of 64 tokens";
  EXPECT_EQ(row.token_ids.size(), 64u);
  EXPECT_THAT(row.valid_per_canvas, ElementsAre(4, 8, 16, 32, 4));
  EXPECT_EQ(row.forwards.denoise, 30);
  EXPECT_EQ(row.forwards.append, 4);
  request.max_new_tokens = 40;
  EXPECT_EQ(run(*denoiser, "growing(shortest=4, longest=32)", request).token_ids.size(), 64u) << "rounded up to whole canvases of the longest length";
  EXPECT_TRUE(run(*denoiser, "16", request).length_per_canvas.empty());
}

TEST(LengthPolicy, OneLengthGivesTheTokensOfThatFixedLength) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6)");
  const auto fixed = run(*denoiser, "16"), policy = run(*denoiser, "by_entropy(shortest=8, longest=16, sure=1000, factor=2)");
  // The first canvas differs in length; behind it noise is keyed by canvas, so only lengths and sizes can be compared.
  EXPECT_THAT(policy.length_per_canvas, ElementsAre(8, 16, 16, 16, 8));
  EXPECT_EQ(fixed.token_ids.size(), policy.token_ids.size());
  EXPECT_EQ(run(*denoiser, "growing(shortest=16, longest=16)").token_ids, fixed.token_ids);
}

TEST(LengthPolicy, RowsOfABatchHaveLengthsOfTheirOwnAndDoNotSeeEachOther) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6, sharpness=3)");
  PlanRequest request;
  request.sampler = "confidence_threshold(0.6)";
  request.num_steps = 8, request.max_new_tokens = 64;
  set_canvas_length(request, "by_steps(shortest=4, longest=16, few=0.7)");
  const auto plan = resolve_plan(request, *denoiser);
  std::vector<RowInput> rows(6);
  for (size_t r = 0; r < rows.size(); ++r) rows[r].seed = 9, rows[r].item = r, rows[r].pins = {{5, 2}, {40, 1}};
  const auto together = generate(*denoiser, plan, rows);
  std::vector<std::vector<int32_t>> lengths;
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto alone = generate(*denoiser, plan, std::span(&rows[r], 1))[0];
    EXPECT_EQ(alone.token_ids, together[r].token_ids) << r;
    EXPECT_EQ(alone.length_per_canvas, together[r].length_per_canvas) << r;
    EXPECT_EQ(together[r].token_ids.size(), 64u);
    EXPECT_EQ(together[r].token_ids[5], 2) << "a pin lies where the text has it, whatever the canvases";
    EXPECT_EQ(together[r].token_ids[40], 1);
    lengths.push_back(together[r].length_per_canvas);
  }
  std::sort(lengths.begin(), lengths.end());
  EXPECT_GT(std::unique(lengths.begin(), lengths.end()) - lengths.begin(), 1) << "all rows chose alike: nothing was tested";
}


TEST(LengthPolicy, APreviewIsAForwardThatChangesNothing) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6, corruption=absorbing)");
  PlanRequest request;
  request.sampler = "leftmost";
  request.num_steps = 8, request.max_new_tokens = 32;
  const auto plain = run(*denoiser, "8", request);
  const auto previewed = run(*denoiser, "delimiter(\"5\", window=8, threshold=1, length=7)", request);
  EXPECT_THAT(previewed.length_per_canvas, ElementsAre(7, 7, 7, 7, 4)) << "no delimiter is certain";
  EXPECT_EQ(previewed.forwards.denoise, 5 + 5 * 8) << "a preview a canvas beside its 8 steps";
  EXPECT_TRUE(std::equal(plain.token_ids.begin(), plain.token_ids.begin() + 7, previewed.token_ids.begin())) << "the same draws in the same places of the first canvas";
}

TEST(LengthPolicy, WhatNeedsOneLengthRefusesAPolicy) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6)");
  const auto refused = [&](PlanRequest request, RowInput row = {}) {
    try {
      run(*denoiser, "growing(shortest=4, longest=8)", std::move(request), std::move(row));
      return std::string("no error");
    } catch (const UserError& error) {
      return std::string(error.what());
    }
  };
  PlanRequest torch;
  torch.rng = RngMode::kTorch;
  EXPECT_THAT(refused(torch), HasSubstr("canvases of one length"));
  RowInput row;
  row.init_canvas = {1, 2, 3, 4};
  EXPECT_THAT(refused({}, row), HasSubstr("a start canvas has a length of its own"));
  PlanRequest both;
  both.canvas_length = 4, both.canvas_policy = "growing";
  EXPECT_THROW(resolve_plan(both, *denoiser), UserError);
}

TEST(LengthPolicy, StoredSettingsReadBack) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6)");
  for (const char* text : {"12", "growing(shortest=4, longest=8, factor=2)"}) {
    PlanRequest request;
    set_canvas_length(request, text);
    const auto settings = resolve_plan(request, *denoiser).settings();
    const auto again = resolve_plan(request_of_settings(settings, "here"), *denoiser).settings();
    EXPECT_EQ(settings, again);
  }
}

}  // namespace
}  // namespace canvaslab
