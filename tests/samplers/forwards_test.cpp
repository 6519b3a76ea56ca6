// Samplers that ask for more than one forward a step: causal verification, leave-one-out sweeps; and klass and filters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/denoiser.h"
#include "core/sources/source.h"
#include "samplers/engine.h"
#include "samplers/leave_one_out.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;

RowResult run(const Denoiser& denoiser, const PlanRequest& request, uint64_t item = 0, std::vector<int32_t> prompt = {}) {
  RowInput row;
  row.seed = 21;
  row.item = item;
  row.prompt.ids = std::move(prompt);
  return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1))[0];
}

PlanRequest plan_of(const std::string& sampler, int32_t steps, int32_t length, int32_t tokens) {
  PlanRequest out;
  out.sampler = sampler;
  out.num_steps = steps;
  out.canvas_length = length;
  out.max_new_tokens = tokens;
  return out;
}

/// Chi-square over its limit at p = 1e-4 (Wilson and Hilferty), cells below 5 expected draws taken together.
double excess(const std::vector<double>& count, const std::vector<double>& law) {
  const double n = std::accumulate(count.begin(), count.end(), 0.0);
  double chi_square = 0, rare = 0, rare_count = 0, cells = -1;
  for (size_t i = 0; i < law.size(); ++i) {
    if (n * law[i] < 5) rare += law[i], rare_count += count[i];
    else ++cells, chi_square += std::pow(count[i] - n * law[i], 2) / (n * law[i]);
  }
  if (n * rare >= 5) ++cells, chi_square += std::pow(rare_count - n * rare, 2) / (n * rare);
  return chi_square / (cells * std::pow(1 - 2 / (9 * cells) + 3.72 * std::sqrt(2 / (9 * cells)), 3));
}

/// How far 6 tokens, written by canvases of 3, are from the law of the source.
double excess_of(const std::string& denoiser_text, const std::string& sampler) {
  const auto denoiser = denoisers().make(denoiser_text);
  std::vector<double> law(64), count(64, 0.0);
  for (size_t i = 0; i < 64; ++i) {
    std::vector<int32_t> tokens;
    for (int bit = 5; bit >= 0; --bit) tokens.push_back(static_cast<int32_t>(i >> bit & 1));
    law[i] = std::exp(denoiser->source()->log_prob(tokens, std::vector<int32_t>{1}));
  }
  const auto plan = resolve_plan(plan_of(sampler, 1, 3, 6), *denoiser);
  for (uint64_t item = 0; item < 20000; ++item) {
    RowInput row;
    row.seed = 33, row.item = item, row.prompt.ids = {1};
    size_t index = 0;
    const auto result = generate(*denoiser, plan, std::span(&row, 1))[0];
    for (int32_t token : result.token_ids) index = index * 2 + static_cast<size_t>(token);
    ++count.at(index);
  }
  return excess(count, law);
}

TEST(CausalVerify, WritesTheLawOfTheSourceForAnyDraft) {  // one draft step: independent tokens; seed 33
  for (const std::string denoiser : {"hmm(states=2, alphabet=2, sharpness=2)", "parity(alphabet=2, block=4, slip=0.05)", "hmm(states=2, alphabet=2, sharpness=2, corruption=absorbing)"}) {
    for (const char* draft : {"fixed_step", "entropy_bound(0)"})
      for (const char* draws : {"coupled", "independent"})
        EXPECT_LT(excess_of(denoiser, fmt::format("causal_verify({}, draws={})", draft, draws)), 1) << denoiser << " drafted by " << draft << ", draws " << draws;
    EXPECT_GT(excess_of(denoiser, "fixed_step"), 2) << denoiser << ": the draft alone must fail, or nothing was tested";
  }
}

TEST(CausalVerify, GreedyIsTheGreedyContinuation) {
  for (const char* text : {"hmm(states=6, alphabet=9)", "markov(alphabet=50)", "copy(alphabet=5, span=4)", "parity(alphabet=3, block=6)", "latin_square(order=3)"}) {
    const auto denoiser = denoisers().make(text);
    for (const char* draft : {"fixed_step", "ddim", "confidence_threshold"}) {
      const auto result = run(*denoiser, plan_of(fmt::format("causal_verify({}, temperature=0)", draft), 4, 8, 24), 3, {1, 0});
      Prompt prompt;
      prompt.ids = {1, 0};
      const auto sequence = denoiser->prefill(prompt);
      std::vector<int32_t> expected;
      for (int i = 0; i < 24; ++i) {
        const auto logits = denoiser->next_logits(*sequence);
        expected.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
        denoiser->append(*sequence, std::span(&expected.back(), 1), false);
      }
      EXPECT_EQ(result.token_ids, expected) << text << " drafted by " << draft;
    }
  }
}

/// Tokens of causal_verify over canvases, mean of all but the last.
double mean_accepted(const Denoiser& denoiser, const std::string& sampler) {
  double tokens = 0, canvases = 0;
  for (uint64_t item = 0; item < 40; ++item) {
    RowInput row;
    row.seed = 5, row.item = item, row.prompt.ids = {1};
    const auto plan = resolve_plan(plan_of(sampler, 1, 16, 48), denoiser);
    const auto result = generate(denoiser, plan, std::span(&row, 1))[0];
    for (size_t c = 0; c + 1 < result.valid_per_canvas.size(); ++c) tokens += result.valid_per_canvas[c], ++canvases;
  }
  return tokens / canvases;
}

TEST(CausalVerify, CoupledTextIsTheSameForAnyDraftAndCanvasLength) {  // a function of one uniform per place
  for (const char* text : {"hmm(states=6, alphabet=9)", "markov(alphabet=50)", "hmm(states=4, alphabet=6, corruption=absorbing)"}) {
    const auto denoiser = denoisers().make(text);
    std::vector<int32_t> first;
    for (const char* draft : {"fixed_step", "confidence_threshold", "leftmost", "entropy_bound"})
      for (const int length : {3, 8, 24}) {
        const auto result = run(*denoiser, plan_of(fmt::format("causal_verify({})", draft), 4, length, 24), 3, {1, 0});
        const std::vector<int32_t> tokens(result.canvas_ids.begin(), result.canvas_ids.begin() + 24);
        if (first.empty()) first = tokens;
        EXPECT_EQ(tokens, first) << text << " drafted by " << draft << " in canvases of " << length;
      }
    const auto alone = run(*denoiser, plan_of("causal_verify(fixed_step, draws=independent)", 4, 8, 24), 3, {1, 0});
    EXPECT_NE(std::vector<int32_t>(alone.canvas_ids.begin(), alone.canvas_ids.begin() + 24), first) << text << ": independent draws are others, or nothing was tested";
  }
}

TEST(CausalVerify, CoupledDraftsAreAcceptedFurther) {  // 40 texts of 48 tokens, seed 5
  for (const char* text : {"hmm(states=6, alphabet=9, sharpness=6)", "parity(alphabet=2, block=4, slip=0.05)"}) {
    const auto denoiser = denoisers().make(text);
    const double coupled = mean_accepted(*denoiser, "causal_verify(fixed_step)"), independent = mean_accepted(*denoiser, "causal_verify(fixed_step, draws=independent)");
    std::printf("%s: %.2f tokens of 16 accepted, %.2f with independent draws\n", text, coupled, independent);
    EXPECT_GT(coupled, 1.5 * independent) << text;
  }
}

TEST(CausalVerify, CountsItsForwardsAndAdvancesByWhatItAccepted) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9)");
  const auto result = run(*denoiser, plan_of("causal_verify(fixed_step)", 4, 8, 40));
  const auto canvases = static_cast<int64_t>(result.valid_per_canvas.size());
  EXPECT_EQ(result.canvas_ids.size(), 40u);
  EXPECT_EQ(std::accumulate(result.valid_per_canvas.begin(), result.valid_per_canvas.end(), 0), 40);
  EXPECT_EQ(result.forwards.denoise, 4 * canvases);
  EXPECT_EQ(result.forwards.verify, canvases);
  EXPECT_GT(canvases, 5) << "a draft was refused somewhere, or nothing was tested";
  int64_t cut = 0;
  for (size_t c = 0; c + 1 < result.valid_per_canvas.size(); ++c) cut += result.valid_per_canvas[c] < 8;
  EXPECT_GE(result.forwards.append, cut) << "an accepted prefix is encoded again";
  EXPECT_LE(result.forwards.append, canvases - 1);
  EXPECT_DOUBLE_EQ(result.tokens_per_forward_report, 40.0 / static_cast<double>(result.forwards.denoise + result.forwards.verify + result.forwards.append));
}

TEST(CausalVerify, IsRefusedWithoutACausalModeAndInTorchOrder) {
  const auto refused = [](const PlanRequest& request, const char* denoiser) -> std::string {
    try {
      resolve_plan(request, *denoisers().make(denoiser));
      return "(nothing was thrown)";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  PlanRequest request;
  request.sampler = "causal_verify";
  EXPECT_THAT(refused(request, "uniform"), HasSubstr("causal mode, which this denoiser does not have"));
  request.rng = RngMode::kTorch;
  EXPECT_THAT(refused(request, "hmm"), HasSubstr("no reference draw order"));
  request.sampler = "loo_corrector";
  EXPECT_THAT(refused(request, "hmm"), HasSubstr("no reference draw order"));
  request.sampler = "loo_corrector(fixed_step)";
  EXPECT_THAT(refused(request, "hmm"), HasSubstr("which sampler 'fixed_step' does not keep"));
}

// --- leave-one-out corrector

TEST(LooCorrector, SpendsTheBudgetAsPublished) {  // samplers.md 3.9: (forwards, sweeps) -> (corrected steps, predictor steps)
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=6)");
  for (const auto& [forwards, sweeps, corrected, predictors] : {std::array{48, 1, 23, 25}, std::array{48, 2, 15, 18}, std::array{32, 2, 10, 12}, std::array{7, 0, 6, 7}, std::array{1, 3, 0, 1}}) {
    const auto sampler = sampler_of(fmt::format("loo_corrector(corrector_steps={})", sweeps));
    EXPECT_EQ(sampler.sampler->num_decisions(forwards), predictors);
    int32_t extra = 0;
    for (int32_t step = 0; step < predictors; ++step) extra += sampler.sampler->extra_forwards(step, forwards);
    EXPECT_EQ(extra, corrected * sweeps);
    EXPECT_EQ(sampler.sampler->extra_forwards(predictors - 1, forwards), 0) << "never after the last step";
    const auto result = run(*denoiser, plan_of(sampler.canonical, forwards, 6, 6));
    EXPECT_EQ(result.forwards.denoise, forwards);
    EXPECT_THAT(result.steps_per_canvas, ElementsAre(predictors));
  }
}

TEST(LooCorrector, WithoutSweepsIsItsPredictor) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=6)");
  EXPECT_EQ(run(*denoiser, plan_of("loo_corrector(ddim, corrector_steps=0)", 9, 6, 12)).token_ids, run(*denoiser, plan_of("ddim", 9, 6, 12)).token_ids);
  EXPECT_EQ(run(*denoiser, plan_of("loo_corrector(ddim, corrector_steps=2, k=0)", 9, 6, 6)).token_ids, run(*denoiser, plan_of("ddim", 9 - 2 * 2, 6, 6)).token_ids);
}

/// Two positions of three tokens: law of the noisy canvas at level a, [9], and the exact posterior's statistics.
struct TwoPositions {
  std::unique_ptr<Denoiser> denoiser = denoisers().make("tabulated(alphabet=3, block=2, sharpness=1.5, seed=4)");
  std::vector<double> prior = std::vector<double>(9);
  TwoPositions() {
    for (int32_t i = 0; i < 9; ++i) prior[static_cast<size_t>(i)] = std::exp(denoiser->source()->log_prob(std::vector<int32_t>{i / 3, i % 3}, {}));
  }
  static double seen(int32_t token, int32_t clean, double a) { return a * (token == clean) + (1 - a) / 3; }
  std::vector<double> noisy(double a) const {
    std::vector<double> out(9, 0.0);
    for (int32_t x = 0; x < 9; ++x)
      for (int32_t y = 0; y < 9; ++y) out[static_cast<size_t>(x)] += prior[static_cast<size_t>(y)] * seen(x / 3, y / 3, a) * seen(x % 3, y % 3, a);
    return out;
  }
  RowStatistics look(const std::vector<int32_t>& canvas, double told, const DrawKey& key) const {
    const auto sequence = denoiser->prefill({});
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.canvas = canvas, row.request.noise_level = told, row.request.draw_key = key, row.request.wanted = StatisticSet::all();
    return denoiser->denoise(std::span(&row, 1)).front().statistics;
  }
};

TEST(LeaveOneOut, ClosedFormsEqualEnumeration) {
  const TwoPositions two;
  for (double a : {0.1, 0.5, 0.9, 0.999})
    for (int32_t x = 0; x < 9; ++x) {
      const std::vector<int32_t> canvas = {x / 3, x % 3};
      const auto s = two.look(canvas, a, {});
      for (size_t p = 0; p < 2; ++p) {
        std::vector<double> loo(3, 0.0);
        for (int32_t y = 0; y < 9; ++y) loo[static_cast<size_t>(p == 0 ? y / 3 : y % 3)] += two.prior[static_cast<size_t>(y)] * TwoPositions::seen(canvas[1 - p], p == 0 ? y % 3 : y / 3, a);
        const double sum = loo[0] + loo[1] + loo[2], own = loo[static_cast<size_t>(canvas[p])] / sum;
        double other = 0;
        for (int32_t v = 0; v < 3; ++v)
          if (v != canvas[p]) other = std::max(other, loo[static_cast<size_t>(v)] / sum);
        // The statistics are f32 logarithms: relative errors of 1e-6 in p and, at p near 1, in 1 - p.
        EXPECT_NEAR(leave_one_out_current(s.current_logprob[p], a, 3), own, 2e-5 * own + 1e-7 / (1 - a)) << "level " << a << " canvas " << x;
        const double best_other = s.argmax[p] == canvas[p] ? s.second_logprob[p] : s.argmax_logprob[p];
        EXPECT_NEAR(leave_one_out_other(best_other, s.current_logprob[p], a, 3), other, 2e-5 * other + 1e-7 / (1 - a));
      }
    }
  EXPECT_NEAR(std::log(observation_ratio(0.5, 262144)), 12.477, 5e-4);
}

/// Which position goes first under each score, against cond = a loo + (1 - a) / 3 by enumeration.
TEST(LooCorrector, ScoresAreLogarithmsOfTheConditionalLaw) {
  const TwoPositions two;
  size_t compared = 0, otherwise = 0;
  for (double a : {0.1, 0.5, 0.9})
    for (int32_t x = 0; x < 9; ++x) {
      const std::vector<int32_t> canvas = {x / 3, x % 3};
      const auto s = two.look(canvas, a, {});
      double current[2], other[2];
      for (size_t p = 0; p < 2; ++p) {
        std::vector<double> loo(3, 0.0);
        for (int32_t y = 0; y < 9; ++y) loo[static_cast<size_t>(p == 0 ? y / 3 : y % 3)] += two.prior[static_cast<size_t>(y)] * TwoPositions::seen(canvas[1 - p], p == 0 ? y % 3 : y / 3, a);
        const double sum = loo[0] + loo[1] + loo[2];
        const auto law = [&](int32_t v) { return std::log(a * loo[static_cast<size_t>(v)] / sum + (1 - a) / 3); };
        current[p] = law(canvas[p]), other[p] = -INFINITY;
        for (int32_t v = 0; v < 3; ++v)
          if (v != canvas[p]) other[p] = std::max(other[p], law(v));
      }
      const std::pair<const char*, std::array<double, 2>> scores[] = {{"margin", {current[0] - other[0], current[1] - other[1]}},
                                                                      {"max_prob", {std::max(current[0], other[0]), std::max(current[1], other[1])}},
                                                                      {"current", {current[0], current[1]}}};
      for (const auto& [name, score] : scores) {
        if (std::abs(score[0] - score[1]) < 1e-4) continue;
        StepView view{.vocabulary = 3, .canvas = canvas, .statistics = &s, .allowed = {}, .knobs = {}, .level_now = a, .level_next = a, .given_uniform = 0.999};
        CanvasState state;
        StepDecision decision;
        sampler_of(fmt::format("loo_corrector(tau=0, score={})", name)).decide_again(view, state, decision);
        const size_t picked = decision.action[0] != Action::kKeep ? 0 : 1;
        EXPECT_EQ(picked, score[0] < score[1] ? 0u : 1u) << name << ", level " << a << ", canvas " << x;
        ++compared, otherwise += (s.current_logprob[0] < s.current_logprob[1]) != (score[0] < score[1]);
      }
    }
  EXPECT_GT(compared, 40u);
  EXPECT_GT(otherwise, 5u) << "the posterior's own order would have done as well";
}

/// The extra forwards see the model's own law, whatever temperature the steps have.
TEST(LooCorrector, CorrectsAtTemperatureOne) {
  struct Watching final : Denoiser {
    std::unique_ptr<Denoiser> inner = denoisers().make("hmm(states=3, alphabet=5, length=6)");
    mutable std::vector<float> held, others;
    const DenoiserFacts& facts() const override { return inner->facts(); }
    std::string content_hash() const override { return inner->content_hash(); }
    std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override { return inner->prefill(prompt); }
    std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
      for (const auto& row : rows) (row.request.hold_prediction ? held : others).push_back(row.request.temperature);
      return inner->denoise(rows);
    }
    std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool logits) const override { return inner->append(sequence, canvas, logits); }
    const Source* source() const override { return inner->source(); }
  } denoiser;
  PlanRequest request;
  request.sampler = "loo_corrector";
  request.stop = "never";
  request.temperature = "0.5";
  request.num_steps = 7;
  request.canvas_length = 6;
  request.max_new_tokens = 6;
  const RowInput input{.prompt = {}, .seed = 3, .init_canvas = {}, .pins = {}};
  generate(denoiser, resolve_plan(request, denoiser), std::span(&input, 1));
  EXPECT_THAT(denoiser.held, ::testing::AllOf(::testing::SizeIs(3), ::testing::Each(1.0f)));
  EXPECT_THAT(denoiser.others, ::testing::AllOf(::testing::SizeIs(4), ::testing::Each(0.5f)));
}

TEST(LooCorrector, OnePositionPickedBlindlyLeavesTheNoisyLawAsItIs) {
  const TwoPositions two;
  const auto sampler = sampler_of("loo_corrector(score=random)");
  const auto after = [&](double level, double told) {
    const auto law = two.noisy(level);
    std::vector<double> count(9, 0.0);
    for (uint64_t item = 0; item < 20000; ++item) {
      const DrawKey key{.seed = 8, .item = item};
      double u = key.uniform(Purpose::kResample, 0);
      int32_t x = 0;
      while (x < 8 && u >= law[static_cast<size_t>(x)]) u -= law[static_cast<size_t>(x++)];
      std::vector<int32_t> canvas = {x / 3, x % 3};
      const auto statistics = two.look(canvas, told, key);
      StepView view{.vocabulary = 3, .canvas = canvas, .statistics = &statistics, .allowed = {}, .knobs = {}, .level_now = told, .level_next = told, .draws = &key};
      CanvasState state;
      StepDecision decision;
      sampler.decide_again(view, state, decision);
      size_t changed = 0;
      for (uint32_t p = 0; p < 2; ++p) {
        const int32_t before = canvas[p];
        if (decision.action[p] == Action::kNoise) canvas[p] = static_cast<int32_t>(key.below(3, Purpose::kNoise, p));
        if (decision.action[p] == Action::kToken) canvas[p] = decision.token[p];
        changed += canvas[p] != before;
      }
      EXPECT_LE(changed, 1u);
      ++count[static_cast<size_t>(canvas[0] * 3 + canvas[1])];
    }
    return excess(count, law);
  };
  for (double level : {0.2, 0.6, 0.9}) EXPECT_LT(after(level, level), 1) << "level " << level << ", seed 8";
  EXPECT_GT(after(0.6, 0.9), 2) << "a wrong level must show";
}

TEST(LooCorrector, RedrawsTheLowestScoreAtTauZero) {
  Step step(4);
  step.statistics.argmax = {1, 1, 1, 1};  // the canvas's own token everywhere
  step.statistics.current_logprob = {-0.1f, -0.7f, -0.2f, -0.01f};
  step.statistics.second_logprob.assign(4, -2.0f);
  step.statistics.alternative.assign(4, 5);
  StepView view = step.view(0, 4);
  view.level_now = 0.9999;
  view.given_uniform = 0.9;
  CanvasState state;
  StepDecision decision;
  sampler_of("loo_corrector(tau=0)").decide_again(view, state, decision);
  EXPECT_THAT(decision.action, ElementsAre(Action::kKeep, Action::kToken, Action::kKeep, Action::kKeep));
  EXPECT_EQ(decision.token[1], 5);
}

// --- klass

TEST(Klass, NeedsQuietStepsAndConfidenceElseTakesTheQuota) {
  const auto sampler = sampler_of("klass(threshold=0.6, kl_threshold=0.01, history=2)");
  CanvasState state;
  Step step(6);
  step.statistics.candidate_logprob = {std::log(0.9f), std::log(0.5f), std::log(0.8f), std::log(0.7f), std::log(0.3f), std::log(0.61f)};
  step.statistics.kl_nats.assign(6, INFINITY);
  EXPECT_THAT(taken(testing_support::decide(sampler, step, state, 0, 6)), ElementsAre(0)) << "nothing qualifies at first: the most confident";
  step.statistics.kl_nats = {0, 0, 0.001f, 0.5f, 0, 0.01f};
  EXPECT_THAT(taken(testing_support::decide(sampler, step, state, 1, 6)), ElementsAre(2)) << "one quiet step is not two";
  step.statistics.kl_nats = {0, 0, 0, 0.001f, 0, 0.001f};
  EXPECT_THAT(taken(testing_support::decide(sampler, step, state, 2, 6)), ElementsAre(3)) << "1 and 4 are quiet but unsure, 3 and 5 were loud: the quota";
  EXPECT_THAT(taken(testing_support::decide(sampler, step, state, 3, 6)), ElementsAre(5));
  EXPECT_THAT(taken(testing_support::decide(sampler, step, state, 5, 6)), ElementsAre(1, 4)) << "the last step takes all";
}

TEST(Klass, SeesTheDivergenceFromTheStepBeforeOfTheSameCanvas) {
  struct Watch final : Observer {
    std::vector<std::pair<int32_t, bool>> infinite;
    void on_step(const StepRecord& record) override { infinite.emplace_back(record.step_idx, std::isinf(record.statistics->kl_nats[0])); }
  } watch;
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=6)");
  const std::vector<RowInput> rows(1);
  auto request = plan_of("klass(threshold=1)", 4, 6, 12);
  generate(*denoiser, resolve_plan(request, *denoiser), rows, &watch);
  ASSERT_EQ(watch.infinite.size(), 8u);
  for (const auto& [step, infinite] : watch.infinite) EXPECT_EQ(infinite, step == 0) << "cleared at every canvas";
}

// --- filters in plans

TEST(Filters, AreSettingsOnlyWhenGivenAndReachTheDraws) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=6)");
  auto request = plan_of("fixed_step", 1, 6, 6);
  for (const auto& [key, value] : resolve_plan(request, *denoiser).settings()) EXPECT_FALSE(key == "top_k" || key == "top_p" || key == "min_p" || key == "stats_on") << key;
  request.top_k = 1;
  const auto settings = resolve_plan(request, *denoiser).settings();
  EXPECT_THAT(settings, ::testing::Contains(std::pair<std::string, std::string>{"top_k", "1"}));
  EXPECT_EQ(settings.back(), (std::pair<std::string, std::string>{"stats_on", "filtered"}));
  struct Argmax final : Observer {
    void on_step(const StepRecord& record) override { EXPECT_EQ(record.statistics->candidate, record.statistics->argmax); }
  } argmax;
  const std::vector<RowInput> rows(1);
  generate(*denoiser, resolve_plan(request, *denoiser), rows, &argmax);
  const auto refused = [&](auto change) -> std::string {
    PlanRequest wrong = plan_of("entropy_bound", 1, 6, 6);
    change(wrong);
    try {
      resolve_plan(wrong, *denoiser);
      return "(nothing was thrown)";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(refused([](auto& r) { r.top_k = 0; }), HasSubstr("top-k is 0"));
  EXPECT_THAT(refused([](auto& r) { r.top_p = 0; }), HasSubstr("top-p is 0; expected a number in (0, 1]"));
  EXPECT_THAT(refused([](auto& r) { r.min_p = 1.5; }), HasSubstr("min-p is 1.5; expected a number in [0, 1]"));
  EXPECT_THAT(refused([](auto& r) { r.min_p = NAN; }), HasSubstr("min-p is nan"));
  EXPECT_THAT(refused([](auto& r) { r.stats_on = "filtered"; }), HasSubstr("none of them is given"));
  EXPECT_THAT(refused([](auto& r) { r.top_p = 0.5, r.stats_on = "both"; }), HasSubstr("expected filtered or unfiltered"));
  EXPECT_THAT(refused([](auto& r) { r.top_p = 0.5, r.rng = RngMode::kTorch; }), HasSubstr("--rng torch"));
}

}  // namespace
}  // namespace canvaslab
