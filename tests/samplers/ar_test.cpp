// The autoregressive baseline: its law, its filters, its forwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"
#include "core/error.h"
#include "core/sources/source.h"
#include "samplers/engine.h"
#include "samplers/plan_notes.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

PlanRequest ar_request(const std::string& sampler, int32_t tokens) {
  PlanRequest out;
  out.sampler = sampler;
  out.max_new_tokens = tokens;
  return out;
}

RowResult written(const Denoiser& denoiser, const PlanRequest& request, uint64_t item = 0, std::vector<int32_t> prompt = {1}) {
  RowInput row;
  row.seed = 17, row.item = item, row.prompt.ids = std::move(prompt);
  return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1))[0];
}

TEST(Autoregressive, GreedyIsTheMostLikelyNextTokenEachTime) {
  for (const char* text : {"hmm(states=6, alphabet=9)", "markov(alphabet=50)", "parity(alphabet=3, block=6)"}) {
    const auto denoiser = denoisers().make(text);
    Prompt prompt;
    prompt.ids = {1, 0};
    const auto sequence = denoiser->prefill(prompt);
    std::vector<int32_t> expected;
    for (int i = 0; i < 20; ++i) {
      const auto logits = denoiser->next_logits(*sequence);
      expected.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      denoiser->append(*sequence, std::span(&expected.back(), 1), false);
    }
    EXPECT_EQ(written(*denoiser, ar_request("ar(temperature=0)", 20), 3, {1, 0}).token_ids, expected) << text;
    PlanRequest one = ar_request("ar", 20);
    one.top_k = 1;
    EXPECT_EQ(written(*denoiser, one, 3, {1, 0}).token_ids, expected) << text << ", the one most likely token";
  }
}

/// One uniform a place makes the same text as a verified draft does.
TEST(Autoregressive, WritesWhatCausalVerifyWritesForTheSameSeed) {
  for (const char* text : {"hmm(states=6, alphabet=9)", "hmm(states=4, alphabet=6, corruption=absorbing)"}) {
    const auto denoiser = denoisers().make(text);
    PlanRequest verified = ar_request("causal_verify(fixed_step, temperature=0.7)", 24);
    verified.num_steps = 4, verified.canvas_length = 8;
    for (uint64_t item = 0; item < 5; ++item) {
      auto drafted = written(*denoiser, verified, item).canvas_ids;
      drafted.resize(24);
      EXPECT_EQ(written(*denoiser, ar_request("ar(temperature=0.7)", 24), item).canvas_ids, drafted) << text << ", item " << item;
      EXPECT_NE(written(*denoiser, ar_request("ar(temperature=3)", 24), item).canvas_ids, drafted) << "another temperature is another text, or nothing was tested";
    }
  }
}

/// Chi-square of the first token against `law` over its limit at p = 1e-4 (Wilson and Hilferty). 8000 draws, seed 17.
double excess_of_first_token(const PlanRequest& request, const std::vector<double>& law) {
  const auto denoiser = denoisers().make("markov(alphabet=8)");
  constexpr int kDraws = 8000;
  std::vector<double> count(law.size());
  for (uint64_t item = 0; item < kDraws; ++item) ++count[static_cast<size_t>(written(*denoiser, request, item).canvas_ids[0])];
  double chi_square = 0, cells = -1;
  for (size_t i = 0; i < law.size(); ++i) {
    if (law[i] == 0 && count[i] > 0) return INFINITY;
    if (law[i] == 0) continue;
    ++cells, chi_square += std::pow(count[i] - kDraws * law[i], 2) / (kDraws * law[i]);
  }
  return chi_square / (cells * std::pow(1 - 2 / (9 * cells) + 3.72 * std::sqrt(2 / (9 * cells)), 3));
}

TEST(Autoregressive, FiltersCutTheCausalLaw) {
  const auto denoiser = denoisers().make("markov(alphabet=8)");
  std::vector<double> law(8);
  for (int32_t token = 0; token < 8; ++token) law[static_cast<size_t>(token)] = std::exp(denoiser->source()->log_prob(std::vector<int32_t>{token}, std::vector<int32_t>{1}));
  EXPECT_LT(excess_of_first_token(ar_request("ar", 1), law), 1);

  std::vector<size_t> order(8);
  for (size_t i = 0; i < 8; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return law[a] > law[b]; });
  const auto kept = [&](size_t count) {
    std::vector<double> out(8);
    double total = 0;
    for (size_t i = 0; i < count; ++i) total += law[order[i]];
    for (size_t i = 0; i < count; ++i) out[order[i]] = law[order[i]] / total;
    return out;
  };
  PlanRequest three = ar_request("ar", 1);
  three.top_k = 3;
  EXPECT_LT(excess_of_first_token(three, kept(3)), 1);
  EXPECT_GT(excess_of_first_token(three, kept(4)), 2) << "another filter must fail, or nothing was tested";
  PlanRequest nucleus = ar_request("ar", 1);
  nucleus.top_p = law[order[0]] + law[order[1]] / 2;  // needs two tokens
  EXPECT_LT(excess_of_first_token(nucleus, kept(2)), 1);
}

TEST(Autoregressive, TakesOneCausalForwardAToken) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9)");
  const auto result = written(*denoiser, ar_request("ar", 30));
  EXPECT_EQ(result.token_ids.size(), 30u);
  EXPECT_EQ(result.forwards.denoise, 0);
  EXPECT_EQ(result.forwards.verify, 0) << "the source knows the law of the first token";
  EXPECT_EQ(result.forwards.append, 29) << "the last token is not read again";
  EXPECT_DOUBLE_EQ(result.tokens_per_forward, 30.0 / 29);
  EXPECT_DOUBLE_EQ(result.tokens_per_forward_report, 30.0 / 29);
  EXPECT_EQ(result.stop_reason, "length");
}

TEST(Autoregressive, PinnedPlacesStayAndAStartCanvasIsRefused) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9)");
  const auto plan = resolve_plan(ar_request("ar", 10), *denoiser);
  RowInput row;
  row.seed = 3, row.prompt.ids = {1}, row.pins = {{0, 7}, {6, 2}};
  const auto result = generate(*denoiser, plan, std::span(&row, 1))[0];
  EXPECT_EQ(result.canvas_ids[0], 7);
  EXPECT_EQ(result.canvas_ids[6], 2);
  row.init_canvas = {4};
  EXPECT_THROW(generate(*denoiser, plan, std::span(&row, 1)), UserError);
}

TEST(Autoregressive, SettingsOfCanvasesAreOneForItAndTheNotesSaySo) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=9)");
  PlanRequest request = ar_request("ar", 10);
  request.canvas_length = 8, request.num_steps = 16, request.temperature = "linear(0.4, 0.8)";
  const auto plan = resolve_plan(request, *denoiser), bare = resolve_plan(ar_request("ar", 10), *denoiser);
  EXPECT_EQ(plan.settings(), bare.settings());
  EXPECT_EQ(plan.canvas_length, 1);
  EXPECT_EQ(plan.num_canvases(), 10);
  EXPECT_THAT(plan_notes(plan, *denoiser).at(0), HasSubstr("denoises no canvas"));
  EXPECT_EQ(resolve_plan(request_of_settings(plan.settings(), "here"), *denoiser).settings(), plan.settings());
  const auto blind = denoisers().make("latin_square(order=3)");
  if (!blind->facts().has_causal_mode) {
    EXPECT_THROW(resolve_plan(ar_request("ar", 4), *blind), UserError);
  }
}

}  // namespace
}  // namespace canvaslab
