// The engine's own rules: schedules and levels it hands out, emission, freezing, pins, start canvases, counting.
#include "samplers/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/denoiser.h"
#include "core/error.h"

namespace canvaslab {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Asked {
  int32_t canvas_idx, step_idx;
  float temperature;
  std::optional<double> level;
  SelfConditioning self_conditioning;
  std::vector<int32_t> canvas;
  std::vector<int32_t> context;  // appended so far
};

/// Remembers what it was asked. Its argmax is 1 + (canvas_idx + position) % 3, or the end token 0 at position 1 of the
/// canvas numbered `end_canvas`; every row at once is confident from step `calm` on.
class Recorder final : public LogitsDenoiser {
 public:
  Recorder() {
    facts_.vocabulary = 5;
    facts_.self_conditioning = true;
    facts_.defaults = {.temperature = "linear(1, 0.5)",
                       .emission = {},
                       .num_steps = 4,
                       .canvas_length = 3,
                       .max_new_tokens = 9,
                       .end_ids = {0},
                       .pad_id = 4,
                       .plugin_values = {}};
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return "recorder"; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto out = std::make_unique<Context>();
    out->ids = prompt.ids;
    return out;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool) const override {
    auto& ids = dynamic_cast<Context&>(sequence).ids;
    ids.insert(ids.end(), canvas.begin(), canvas.end());
    return {};
  }
  DenoiserFacts facts_;
  int32_t end_canvas = -1, calm = 100;
  mutable std::vector<Asked> asked;
  bool nan_at_step_1 = false;

 protected:
  struct Context final : Sequence {
    std::vector<int32_t> ids;
    std::unique_ptr<Sequence> fork() const override { return std::make_unique<Context>(*this); }
  };
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& r) const override {
    asked.push_back({r.canvas_idx,
                     r.step_idx,
                     r.temperature,
                     r.noise_level,
                     r.self_conditioning,
                     {r.canvas.begin(), r.canvas.end()},
                     dynamic_cast<Context&>(sequence).ids});
    std::vector<float> logits(r.canvas.size() * 5, 0.0f);
    for (size_t p = 0; p < r.canvas.size(); ++p) {
      const int32_t token = r.canvas_idx == end_canvas && p == 1 ? 0 : 1 + (r.canvas_idx + static_cast<int32_t>(p)) % 3;
      logits[p * 5 + static_cast<size_t>(token)] = r.step_idx >= calm ? 50.0f : 1.0f;
    }
    if (nan_at_step_1 && r.step_idx == 1) logits[2 * 5 + 3] = std::nanf("");
    return logits;
  }
};

RowResult run(const Recorder& denoiser, const PlanRequest& request, RowInput row = {}) {
  const auto plan = resolve_plan(request, denoiser);
  return generate(denoiser, plan, std::span(&row, 1))[0];
}

TEST(Engine, EvaluatesSchedulesOverTheRampAndHoldsTheirEndBeyond) {
  Recorder denoiser;
  PlanRequest request;
  request.stop = "never";
  request.max_new_tokens = 3;
  request.num_steps = 6;
  request.anneal_over = 4;
  run(denoiser, request);
  std::vector<float> temperature;
  for (const auto& a : denoiser.asked) temperature.push_back(a.temperature);
  EXPECT_THAT(temperature, ElementsAre(1.0f, 0.875f, 0.75f, 0.625f, 0.5f, 0.5f));
  denoiser.asked.clear();
  request.num_steps = 2;  // a cap cuts the ramp, it does not squeeze it
  run(denoiser, request);
  ASSERT_EQ(denoiser.asked.size(), 2u);
  EXPECT_EQ(denoiser.asked[1].temperature, 0.875f);
  denoiser.asked.clear();
  request.anneal_over.reset();  // by default the ramp is as long as the limit
  run(denoiser, request);
  EXPECT_EQ(denoiser.asked[1].temperature, 0.75f);
}

TEST(Engine, TellsTheLevelOnlyToSamplersThatDeclareIt) {
  Recorder denoiser;
  PlanRequest request;
  request.max_new_tokens = 3;
  request.stop = "never";
  run(denoiser, request);
  for (const auto& a : denoiser.asked) EXPECT_FALSE(a.level.has_value());
  denoiser.asked.clear();
  request.sampler = "ddim";
  run(denoiser, request);
  for (const auto& a : denoiser.asked) EXPECT_EQ(a.level, a.step_idx / 4.0);
  denoiser.asked.clear();
  request.noise_level = "withheld";
  run(denoiser, request);
  for (const auto& a : denoiser.asked) EXPECT_FALSE(a.level.has_value());
  const auto settings = resolve_plan(request, denoiser).settings();
  EXPECT_EQ(settings.back(), std::make_pair(std::string("noise_level"), std::string("withheld")));
  EXPECT_EQ(resolve_plan(request_of_settings(settings, "test"), denoiser).settings(), settings) << "stored settings read back";
  EXPECT_THROW(request_of_settings({{"sampler", "ddim"}}, "test"), UserError);
  request.noise_level = "known";
  EXPECT_THROW(resolve_plan(request, denoiser), UserError);
  request = {};
  request.noise_level = "told";
  EXPECT_THROW(resolve_plan(request, denoiser), UserError) << "the entropy bound follows no level";
}

TEST(Engine, SelfConditioningIsAKnob) {
  Recorder denoiser;
  PlanRequest request;
  run(denoiser, request);
  EXPECT_EQ(denoiser.asked.back().self_conditioning, SelfConditioning::kPrevious);
  request.feedback = "off";
  run(denoiser, request);
  EXPECT_EQ(denoiser.asked.back().self_conditioning, SelfConditioning::kNone);
}

TEST(Engine, EmitsTheArgmaxOfTheStepThatStoppedOrTheCanvas) {
  Recorder denoiser;
  denoiser.calm = 1;
  PlanRequest request;  // entropy_bound, stable_and_confident: stops at the second step
  request.emission = "argmax";
  const auto result = run(denoiser, request);
  EXPECT_THAT(result.canvas_ids, ElementsAre(1, 2, 3, 2, 3, 1, 3, 1, 2));
  EXPECT_THAT(result.steps_per_canvas, Each(2));
  EXPECT_THAT(result.canvas_stop, Each("stable_and_confident"));
  EXPECT_EQ(result.stop_reason, "length");
  // Canvas emission without an accepting step: what the last step wrote, noise included.
  struct Last final : Observer {
    std::vector<int32_t> canvas;
    void on_step(const StepRecord& record) override {
      canvas.assign(record.canvas_out.begin(), record.canvas_out.end());
    }
  } last;
  request.emission = "canvas";
  request.stop = "never";
  request.sampler = "entropy_bound(0)";
  request.max_new_tokens = 3;
  denoiser.calm = 100;
  denoiser.facts_.defaults.end_ids.clear();
  const auto plan = resolve_plan(request, denoiser);
  const std::vector<RowInput> rows(1);
  EXPECT_EQ(generate(denoiser, plan, rows, &last)[0].canvas_ids, last.canvas);
}

TEST(Engine, CountsForwardsByKindAndCommitsWhatWasEmitted) {
  Recorder denoiser;
  denoiser.calm = 1;
  RowInput row;
  row.prompt.ids = {2, 2};
  const auto result = run(denoiser, {}, row);
  EXPECT_EQ(result.forwards.prefill, 1);
  EXPECT_EQ(result.forwards.denoise, 6);
  EXPECT_EQ(result.forwards.append, 2) << "the last canvas needs no append";
  EXPECT_EQ(result.forwards.verify + result.forwards.unconditional, 0);
  EXPECT_DOUBLE_EQ(result.tokens_per_forward, 9.0 / 6);
  EXPECT_DOUBLE_EQ(result.tokens_per_forward_report, 9.0 / 8);
  EXPECT_THAT(denoiser.asked.back().context, ElementsAre(2, 2, 1, 2, 3, 2, 3, 1));
}

TEST(Engine, EndsAtTheEndTokenPadsAndDropsTheRow) {
  Recorder denoiser;
  denoiser.calm = 1;
  denoiser.end_canvas = 1;
  const auto result = run(denoiser, {});
  EXPECT_THAT(result.canvas_ids, ElementsAre(1, 2, 3, 2, 0, 4)) << "end token at position 1 of canvas 1, then pad";
  EXPECT_THAT(result.token_ids, ElementsAre(1, 2, 3, 2, 0));
  EXPECT_THAT(result.valid_per_canvas, ElementsAre(3, 2));
  EXPECT_EQ(result.stop_reason, "end_token");
  EXPECT_EQ(result.forwards.denoise, 4);
  EXPECT_EQ(result.forwards.append, 1);
  EXPECT_DOUBLE_EQ(result.tokens_per_forward, 5.0 / 4) << "the end token counts, pads do not";
}

TEST(Engine, StopsAskingForAConvergedRowWhileOthersGoOn) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=7, length=6)");
  PlanRequest request;
  request.sampler = "confidence_threshold(0.6)";
  request.num_steps = 20;
  const auto plan = resolve_plan(request, *denoiser);
  std::vector<RowInput> rows(8);
  for (size_t r = 0; r < rows.size(); ++r) rows[r].item = r;
  struct Count final : Observer {
    std::map<size_t, int32_t> steps;
    void on_step(const StepRecord& record) override {
      ++steps[record.row];
      EXPECT_FALSE(record.frozen);
    }
  } count;
  const auto results = generate(*denoiser, plan, rows, &count);
  std::set<int32_t> lengths;
  for (size_t r = 0; r < rows.size(); ++r) {
    EXPECT_EQ(results[r].steps_per_canvas[0], count.steps[r]);
    EXPECT_EQ(results[r].forwards.denoise, count.steps[r]);
    lengths.insert(count.steps[r]);
  }
  EXPECT_GT(lengths.size(), 1u) << "all rows took equally long: nothing was tested";
}

TEST(Engine, FixedStepSamplersRunExactlyTheirSteps) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=7, length=6)");
  for (const char* sampler : {"fixed_step", "leftmost", "ddim"})
    for (int32_t steps : {1, 2, 6, 9}) {
      PlanRequest request;
      request.sampler = sampler;
      request.num_steps = steps;
      const auto plan = resolve_plan(request, *denoiser);
      const std::vector<RowInput> rows(1);
      EXPECT_EQ(generate(*denoiser, plan, rows)[0].steps_per_canvas[0], steps) << sampler;
    }
}

TEST(Engine, StartCanvasAndPinsAreInputs) {
  Recorder denoiser;
  RowInput row;
  row.init_canvas = {3, 3, 3};
  row.pins = {{1, 2}, {5, 4}};
  PlanRequest request;
  request.stop = "never";
  request.max_new_tokens = 6;
  const auto result = run(denoiser, request, row);
  EXPECT_EQ(denoiser.asked[0].canvas, (std::vector<int32_t>{3, 2, 3}));
  for (const auto& a : denoiser.asked)
    EXPECT_EQ(a.canvas_idx == 0 ? a.canvas[1] : a.canvas[2], a.canvas_idx == 0 ? 2 : 4);
  EXPECT_EQ(result.canvas_ids[1], 2);
  EXPECT_EQ(result.canvas_ids[5], 4);
  EXPECT_NE(denoiser.asked[4].canvas, (std::vector<int32_t>{3, 3, 4})) << "only the first canvas starts from it";
  for (RowInput wrong : {RowInput{.prompt = {}, .init_canvas = {1, 1}, .pins = {}},
                         RowInput{.prompt = {}, .init_canvas = {1, 1, 5}, .pins = {}},
                         RowInput{.prompt = {}, .init_canvas = {}, .pins = {{6, 1}}},
                         RowInput{.prompt = {}, .init_canvas = {}, .pins = {{0, 5}}}})
    EXPECT_THROW(run(denoiser, request, wrong), UserError);
  request.sampler = "ddim";
  EXPECT_THROW(run(denoiser, request, RowInput{.prompt = {}, .init_canvas = {3, 3, 3}, .pins = {}}), UserError) << "its level begins at pure noise";
}

TEST(Engine, NanLogitsFailWithTheirPlace) {
  Recorder denoiser;
  denoiser.nan_at_step_1 = true;
  try {
    run(denoiser, {});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("canvas 0, step 1, position 2"));
  }
}

TEST(Plan, FillsFromTheUserThenTheModelsFileThenTheSampler) {
  Recorder denoiser;
  denoiser.facts_.defaults.plugin_values = {{"entropy_bound", "entropy_bound", "0.3"},
                                            {"stable_and_confident", "confidence_threshold", "0.02"},
                                            {"stable_and_confident", "stability_threshold", "2"}};
  PlanRequest request;
  EXPECT_EQ(resolve_plan(request, denoiser).sampler.canonical, "entropy_bound(entropy_bound=0.3)");
  EXPECT_EQ(resolve_plan(request, denoiser).stop.canonical,
            "stable_and_confident(stability_threshold=2, confidence_threshold=0.02)");
  request.sampler = "eb(0.7)";
  request.stop = "stable_and_confident(5)";  // given by place; the other still comes from the file
  EXPECT_EQ(resolve_plan(request, denoiser).sampler.canonical, "entropy_bound(entropy_bound=0.7)");
  EXPECT_EQ(resolve_plan(request, denoiser).stop.canonical,
            "stable_and_confident(stability_threshold=5, confidence_threshold=0.02)");
  request.stop = "all_of(stable_and_confident, token_stability)";
  EXPECT_THAT(resolve_plan(request, denoiser).stop.canonical,
              HasSubstr("stability_threshold=2, confidence_threshold=0.02"));
  request.sampler = "confidence_threshold";
  request.stop.reset();
  EXPECT_EQ(resolve_plan(request, denoiser).stop.canonical, "all_revealed");
}

TEST(Plan, RefusesContradictions) {
  const auto refused = [](const PlanRequest& request, const Recorder& denoiser, const char* why) {
    try {
      resolve_plan(request, denoiser);
      ADD_FAILURE() << "not refused: " << why;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  };
  Recorder plain, absorbing, bans;
  absorbing.facts_.absorbing = true;
  absorbing.facts_.mask_id = 4;
  bans.facts_.banned_ids = {1};
  PlanRequest ddim, torch, zero, steps;
  ddim.sampler = "ddim";
  refused(ddim, absorbing, "absorbs into a mask token");
  refused(ddim, bans, "bans some ids");
  torch.rng = RngMode::kTorch;
  refused(torch, absorbing, "whole vocabulary");
  refused(torch, bans, "whole vocabulary");
  torch.sampler = "fixed_step";
  refused(torch, plain, "no reference draw order");
  zero.rng = RngMode::kTorch;
  zero.temperature = "linear(1, 0)";
  zero.num_steps = 4;
  EXPECT_NO_THROW(resolve_plan(zero, plain)) << "0 is reached beyond the ramp only";
  zero.anneal_over = 2;
  refused(zero, plain, "is 0 at step 2");
  steps.num_steps = 0;
  refused(steps, plain, "at least 1");
  bans.facts_.banned_ids = {0, 1, 2, 3, 4, 4};
  refused({}, bans, "bans every id");
}

TEST(Engine, BannedIdsAreNeverNoise) {
  Recorder denoiser;
  denoiser.facts_.banned_ids = {0, 2};
  denoiser.facts_.defaults.end_ids.clear();
  PlanRequest request;
  request.canvas_length = 3;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RowInput row;
    row.seed = seed;
    run(denoiser, request, row);
  }
  for (const auto& a : denoiser.asked) {
    if (a.step_idx == 0) {
      EXPECT_THAT(a.canvas, Each(::testing::AnyOf(1, 3, 4)));
    }
  }
}

}  // namespace
}  // namespace canvaslab
