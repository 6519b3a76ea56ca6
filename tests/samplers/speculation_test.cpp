// Self-speculation: linear_spec and s2d2 against the causal law, which they keep exactly where they say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/denoiser.h"
#include "core/error.h"
#include "core/sources/source.h"
#include "samplers/engine.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;
using testing_support::sampler_of;
using testing_support::Step;

PlanRequest plan_of(const std::string& sampler, int32_t steps, int32_t length, int32_t tokens) {
  PlanRequest out;
  out.sampler = sampler, out.num_steps = steps, out.canvas_length = length, out.max_new_tokens = tokens;
  return out;
}

RowResult run(const Denoiser& denoiser, const PlanRequest& request, uint64_t item, std::vector<int32_t> prompt = {}) {
  RowInput row;
  row.seed = 21, row.item = item, row.prompt.ids = std::move(prompt);
  return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1))[0];
}

/// Chi-square of `count` against `law` over its limit at p = 1e-4 (Wilson and Hilferty); cells below 5 expected draws together.
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

/// How far 6 binary tokens, written in canvases of 4, are from the law of the source. 20,000 texts, seed 21.
double excess_of(const std::string& denoiser_text, const PlanRequest& request, const std::vector<int32_t>& prompt) {
  const auto denoiser = denoisers().make(denoiser_text);
  std::vector<double> law(64), count(64, 0.0);
  for (size_t i = 0; i < 64; ++i) {
    std::vector<int32_t> tokens;
    for (int bit = 5; bit >= 0; --bit) tokens.push_back(static_cast<int32_t>(i >> bit & 1));
    law[i] = std::exp(denoiser->source()->log_prob(tokens, prompt));
  }
  for (uint64_t item = 0; item < 20000; ++item) {
    const auto result = run(*denoiser, request, item, prompt);
    size_t index = 0;
    for (size_t p = 0; p < 6; ++p) index = index * 2 + static_cast<size_t>(result.canvas_ids.at(p));
    ++count.at(index);
  }
  return excess(count, law);
}

constexpr const char* kUniform = "hmm(states=2, alphabet=2, sharpness=2)";
constexpr const char* kAbsorbing = "hmm(states=2, alphabet=2, sharpness=2, corruption=absorbing)";

TEST(LinearSpec, WritesTheLawOfTheSource) {
  for (const char* source : {kUniform, kAbsorbing})
    for (const char* draws : {"coupled", "independent"})
      EXPECT_LT(excess_of(source, plan_of(fmt::format("linear_spec(draws={})", draws), 1, 4, 8), {1, 0}), 1) << source << ", draws " << draws;
  EXPECT_LT(excess_of("parity(alphabet=2, block=4, slip=0.05)", plan_of("linear_spec(draws=independent)", 1, 4, 8), {1}), 1);
  EXPECT_LT(excess_of(kAbsorbing, plan_of("linear_spec(0.6, draws=independent)", 1, 4, 8), {}), 1) << "no prompt, drafts cut short";
  EXPECT_GT(excess_of(kUniform, plan_of("fixed_step", 1, 4, 8), {1}), 2) << "the draft alone must fail, or nothing was tested";
}

TEST(LinearSpec, CoupledTextIsThatOfCausalVerify) {  // one uniform per place in the text, whatever drafts it
  for (const char* source : {"hmm(states=6, alphabet=9)", "markov(alphabet=50)", "hmm(states=4, alphabet=6, corruption=absorbing)"}) {
    const auto denoiser = denoisers().make(source);
    for (const std::vector<int32_t>& prompt : {std::vector<int32_t>{}, {1}, {1, 0, 3}}) {
      const auto expected = run(*denoiser, plan_of("causal_verify(fixed_step)", 2, 8, 24), 3, prompt).token_ids;
      for (const int length : {2, 5, 24}) {
        auto tokens = run(*denoiser, plan_of("linear_spec", 1, length, 24), 3, prompt).token_ids;
        tokens.resize(24);  // rounded up to whole canvases
        EXPECT_EQ(tokens, expected) << source << " in canvases of " << length << ", prompt of " << prompt.size();
      }
    }
    EXPECT_NE(run(*denoiser, plan_of("linear_spec(draws=independent)", 1, 8, 24), 3, {1}).token_ids, run(*denoiser, plan_of("linear_spec", 1, 8, 24), 3, {1}).token_ids);
  }
}

TEST(LinearSpec, ARoundCostsOneDraftAndOneCheck) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9)");
  for (const std::vector<int32_t>& prompt : {std::vector<int32_t>{}, {1, 2}}) {
    const auto row = run(*denoiser, plan_of("linear_spec", 7, 8, 40), 4, prompt);
    const auto rounds = static_cast<int64_t>(row.steps_per_canvas.size());
    EXPECT_EQ(row.token_ids.size(), 40u);
    EXPECT_EQ(std::accumulate(row.valid_per_canvas.begin(), row.valid_per_canvas.end(), 0), 40);
    EXPECT_EQ(row.forwards.denoise, rounds);
    EXPECT_EQ(row.forwards.verify, rounds);
    EXPECT_EQ(row.forwards.append, 0) << "the cache is cut, nothing is encoded twice";
    EXPECT_GT(rounds, 5);
  }
}

/// A denoiser that cannot cut its cache.
class Uncut final : public LogitsDenoiser {
 public:
  explicit Uncut(const std::string& inner) : inner_(denoisers().make(inner)) {}
  const DenoiserFacts& facts() const override { return inner_->facts(); }
  std::string content_hash() const override { return "uncut"; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override { return inner_->prefill(prompt); }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want) const override { return inner_->append(sequence, canvas, want); }
  std::vector<float> next_logits(const Sequence& sequence) const override { return inner_->next_logits(sequence); }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    StepRequest wanted = request;
    wanted.want_logits = true;
    const DenoiseRow row{.sequence = &sequence, .request = wanted};
    return std::move(inner_->denoise(std::span(&row, 1)).front().logits);
  }

 private:
  std::unique_ptr<Denoiser> inner_;
};

TEST(LinearSpec, WithoutACutTheKeptTokensAreAppendedAgainAndCounted) {
  const std::string text = "hmm(states=6, alphabet=9)";
  const auto request = plan_of("linear_spec", 1, 8, 40);
  const auto cut = run(*denoisers().make(text), request, 4, {1}), uncut = run(Uncut(text), request, 4, {1});
  EXPECT_EQ(cut.token_ids, uncut.token_ids);
  int64_t refused = 0;
  for (const int32_t tokens : uncut.valid_per_canvas) refused += tokens < 8;
  EXPECT_GT(refused, 3);
  EXPECT_EQ(uncut.forwards.append, refused) << "a round that stands whole needs none";
}

TEST(LinearSpec, TheThresholdEndsADraftOfMasksEarly) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9, corruption=absorbing)");
  const auto all = run(*denoiser, plan_of("linear_spec", 1, 8, 40), 4, {1}), none = run(*denoiser, plan_of("linear_spec(threshold=1)", 1, 8, 40), 4, {1});
  EXPECT_EQ(all.token_ids, none.token_ids) << "coupled";
  EXPECT_EQ(none.forwards.verify, 40) << "nothing drafted: one token a round";
  EXPECT_LT(all.forwards.verify, 40);
}

// --- s2d2

TEST(S2d2, CheckedEverywhereItWritesTheLawOfTheSource) {
  for (const char* source : {kUniform, kAbsorbing})
    for (const std::vector<int32_t>& prompt : {std::vector<int32_t>{}, {1}}) {
      // 4 steps: enough for canvases of 4 when every check settles one position at least.
      EXPECT_LT(excess_of(source, plan_of("s2d2(router=always, quota=off)", 4, 4, 8), prompt), 1) << source << ", prompt of " << prompt.size();
    }
  EXPECT_GT(excess_of(kUniform, plan_of("s2d2(router=always, quota=off, exponent=0)", 4, 4, 8), {1}), 2) << "exponent 0 accepts every draft";
  EXPECT_GT(excess_of(kUniform, plan_of("s2d2(router=never)", 1, 4, 8), {1}), 2) << "one step without checks is the plain draft";
}

TEST(S2d2, TemperatureZeroWritesTheGreedyContinuation) {
  for (const char* source : {"hmm(states=6, alphabet=9)", "hmm(states=4, alphabet=6, corruption=absorbing)"}) {
    const auto denoiser = denoisers().make(source);
    PlanRequest request = plan_of("s2d2(router=always, quota=off, temperature=0)", 8, 8, 24);
    for (const char* temperature : {"0", "1"}) {
      request.temperature = temperature;
      EXPECT_EQ(run(*denoiser, request, 3, {1, 0}).token_ids, run(*denoiser, plan_of("causal_verify(temperature=0)", 4, 8, 24), 3, {1, 0}).token_ids) << source << ", drafted at temperature " << temperature;
    }
  }
}

TEST(S2d2, CountsItsChecksAndPaysForNoneWithoutThem) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9, corruption=absorbing)");
  const auto always = run(*denoiser, plan_of("s2d2(router=always, quota=off)", 8, 8, 24), 3, {1});
  EXPECT_GT(always.forwards.verify, 0);
  EXPECT_LE(always.forwards.verify, always.forwards.denoise + 1) << "at most one a step, and the prompt's last token";
  EXPECT_EQ(always.forwards.append, 2);
  const auto never = run(*denoiser, plan_of("s2d2(router=never)", 8, 8, 24), 3, {1});
  EXPECT_EQ(never.forwards.verify, 0);
  EXPECT_EQ(never.forwards.denoise, 24);
  const auto long_spans = run(*denoiser, plan_of("s2d2(router=span, min_span=8)", 8, 8, 24), 3, {1});
  EXPECT_LE(long_spans.forwards.verify, 3 + 1) << "only whole canvases are that long";
}

std::vector<size_t> where(const StepDecision& decision) {
  std::vector<size_t> out;
  for (size_t p = 0; p < decision.action.size(); ++p)
    if (decision.action[p] == Action::kCandidate || decision.action[p] == Action::kToken) out.push_back(p);
  return out;
}

TEST(S2d2, TakesWhatWasCheckedThenWhatTheQuotaMisses) {
  const auto sampler = sampler_of("s2d2(confidence=0.8)");
  Step step(6);
  const auto sure = [](double p) { return static_cast<float>(std::log(p)); };
  step.statistics.candidate_logprob = {sure(0.5), sure(0.9), sure(0.4), sure(0.85), sure(0.3), sure(0.7)};
  const auto decide = [&](const CausalCheck* check, const std::string& text, int32_t steps) {
    const auto rule = sampler_of(text);
    CanvasState state;
    StepDecision decision;
    rule.sampler->begin(state, 6, steps);
    StepView view = step.view(0, steps);
    view.check = check;
    rule.decide(view, state, decision);
    return decision;
  };
  const CausalCheck two{.begin = 0, .num_accepted = 1, .replacement = 3};
  auto decision = decide(&two, "s2d2(confidence=0.8)", 3);
  EXPECT_EQ(where(decision), (std::vector<size_t>{0, 1})) << "a quota of two is met";
  EXPECT_EQ(decision.action[1], Action::kToken);
  EXPECT_EQ(decision.token[1], 3);
  decision = decide(&two, "s2d2(confidence=0.8, extras=on)", 3);
  EXPECT_EQ(where(decision), (std::vector<size_t>{0, 1, 3}));
  decision = decide(&two, "s2d2(confidence=0.8)", 2);
  EXPECT_EQ(where(decision), (std::vector<size_t>{0, 1, 3})) << "three are due: the surest is added";
  decision = decide(nullptr, "s2d2(confidence=0.8)", 6);
  EXPECT_EQ(where(decision), (std::vector<size_t>{1, 3})) << "one is due, all above the threshold come";
  decision = decide(nullptr, "s2d2(confidence=0.8)", 2);
  EXPECT_EQ(where(decision), (std::vector<size_t>{1, 3, 5})) << "three are due, two are sure";
  decision = decide(nullptr, "s2d2", 1);
  EXPECT_EQ(where(decision).size(), 6u) << "the last step takes all";
}

TEST(S2d2, TheRouterWeighsExpectedAcceptanceAgainstWhatIsSureAnyway) {
  Step step(4);  // vocabulary 50
  step.statistics.entropy_nats = {0, 0, static_cast<float>(std::log(50.0)), 0};
  step.statistics.candidate_logprob = {-1, -1, -1, -0.01f};
  const auto asks = [&](const std::string& text) {
    const auto sampler = sampler_of(text);
    CanvasState state;
    sampler.sampler->begin(state, 4, 4);
    const auto span = sampler.sampler->causal_span(step.view(0, 4), state);
    return span.second - span.first;
  };
  // 1 + 1 + e^-1 + e^-1 = 2.7358; one candidate is sure.
  EXPECT_EQ(asks("s2d2(score=2.7, penalty=0)"), 4u);
  EXPECT_EQ(asks("s2d2(score=2.8, penalty=0)"), 0u);
  EXPECT_EQ(asks("s2d2(score=0.7, penalty=2)"), 4u);
  EXPECT_EQ(asks("s2d2(score=0.8, penalty=2)"), 0u);
  EXPECT_EQ(asks("s2d2(router=span, min_span=4)"), 4u);
  EXPECT_EQ(asks("s2d2(router=span, min_span=5)"), 0u);
  step.allowed = {1, 1, 0, 1};
  EXPECT_EQ(asks("s2d2(router=always)"), 2u) << "a pinned position ends the run";
}

TEST(S2d2, RefusesWhatItCannotWeigh) {
  const auto refused = [](PlanRequest request, const char* denoiser) -> std::string {
    try {
      resolve_plan(request, *denoisers().make(denoiser));
      return "(nothing was thrown)";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  PlanRequest request = plan_of("s2d2", 4, 4, 8);
  EXPECT_THAT(refused(request, "uniform"), HasSubstr("causal mode, which this denoiser does not have"));
  request.top_k = 3;
  EXPECT_THAT(refused(request, "hmm"), HasSubstr("cannot run with top-k"));
  request.sampler = "s2d2(router=never)";
  EXPECT_THAT(refused(request, "hmm"), HasSubstr("(nothing was thrown)"));
}

}  // namespace
}  // namespace canvaslab
