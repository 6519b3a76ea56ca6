// How far drafts are accepted: the figures against sums over generated texts, and the table.
#include "eval/acceptance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"
#include "core/error.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

AcceptanceRequest request_of(size_t texts) {
  AcceptanceRequest out;
  out.canvas_length = 8, out.max_new_tokens = 24, out.steps = {1, 3}, out.seed = 5;
  out.prompts.assign(texts, {1, 2});
  return out;
}

TEST(Acceptance, IsTokensOverRoundsAndOverForwards) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=6)");
  AcceptanceRequest request = request_of(20);
  const std::vector<std::string> samplers = {"causal_verify(fixed_step)", "linear_spec"};
  const auto measured = measure_acceptance(*denoiser, request, samplers);
  ASSERT_EQ(measured.size(), 2u);
  ASSERT_EQ(measured[0].size(), 2u);
  ASSERT_EQ(measured[1].size(), 1u) << "linear_spec takes one step whatever is asked";
  for (size_t s = 0; s < samplers.size(); ++s) {
    PlanRequest asked;
    asked.sampler = samplers[s], asked.num_steps = 1, asked.canvas_length = 8, asked.max_new_tokens = 24, asked.temperature = "1", asked.emission = "canvas";
    const auto plan = resolve_plan(asked, *denoiser);
    double tokens = 0, rounds = 0, forwards = 0;
    for (uint64_t item = 0; item < 20; ++item) {
      RowInput row;
      row.seed = 5, row.item = item, row.prompt.ids = {1, 2};
      const auto result = generate(*denoiser, plan, std::span(&row, 1))[0];
      tokens += static_cast<double>(result.token_ids.size()), rounds += static_cast<double>(result.steps_per_canvas.size());
      forwards += static_cast<double>(result.forwards.denoise + result.forwards.verify + result.forwards.append);
    }
    EXPECT_DOUBLE_EQ(measured[s][0].accepted.value, tokens / rounds) << samplers[s];
    EXPECT_DOUBLE_EQ(measured[s][0].per_forward.value, tokens / forwards) << samplers[s];
    EXPECT_EQ(measured[s][0].failed, 0);
  }
  request.threads = 3;
  EXPECT_EQ(measure_acceptance(*denoiser, request, samplers)[0][1].accepted.value, measured[0][1].accepted.value);
}

/// The standard error is that of repeated measurements: over 40 seeds the spread of the ratio is within a factor of 1.5 of the
/// mean stated error (a spread of 40 normal draws is within 1.36 with probability 0.998).
TEST(Acceptance, StatesTheErrorOfItsFigures) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=6, sharpness=4)");
  AcceptanceRequest request = request_of(15);
  request.steps = {1};
  double sum = 0, squares = 0, stated = 0;
  constexpr int kSeeds = 40;
  for (int seed = 0; seed < kSeeds; ++seed) {
    request.seed = static_cast<uint64_t>(seed);
    const RatioError at = measure_acceptance(*denoiser, request, {"linear_spec"})[0][0].accepted;
    sum += at.value, squares += at.value * at.value, stated += at.standard_error / kSeeds;
  }
  const double spread = std::sqrt((squares - sum * sum / kSeeds) / (kSeeds - 1));
  EXPECT_LT(spread, 1.5 * stated) << "seeds 0 to 39";
  EXPECT_GT(spread, stated / 1.5);
}

TEST(Acceptance, TheTableMarksTheFastestAndCountsFailures) {
  const AcceptanceRequest request = request_of(3);
  std::vector<std::vector<Acceptance>> measured = {{{.accepted = {2.5, 0.1}, .per_forward = {0.5, 0.02}, .failed = 0}, {.accepted = {3, 0.1}, .per_forward = {0.75, 0.3}, .failed = 2}},
                                                   {{.accepted = {4, 0.2}, .per_forward = {2, 0.1}, .failed = 0}}};
  const std::string table = acceptance_table({"a", "b"}, request, measured);
  EXPECT_THAT(table, HasSubstr("| sampler | 1 step | 3 |\n|---|--:|--:|\n| `a` | 2.50 (0.50) | 3.00 (0.75) |\n| `b` | **4.00 (2.00)** | |\n"));
  EXPECT_THAT(table, HasSubstr("3 texts of 24 tokens, canvases of 8, temperature 1, seed 5; standard errors are at most 0.30; 2 texts failed."));
  measured[0][1].failed = 0;
  EXPECT_THAT(acceptance_table({"a", "b"}, request, measured), Not(HasSubstr("failed")));
}

TEST(Acceptance, ListsEachDraftOnceWhereDrawsMakeNoDifference) {
  EXPECT_EQ(acceptance_samplers(1).size(), 8u);
  EXPECT_EQ(acceptance_samplers(0).size(), 4u) << "greedy tokens are not drawn";
  for (const double temperature : {0.0, 0.7})
    for (const auto& text : acceptance_samplers(temperature)) EXPECT_EQ(configure_sampler(parse_plugin(text)).facts.causal_verify, temperature) << text;
  EXPECT_THROW(measure_acceptance(*denoisers().make("uniform"), request_of(1), {"linear_spec"}), UserError);
}

}  // namespace
}  // namespace canvaslab
