// Self-conditioning that the engine makes, against the one that networks make themselves: every path of the network on the CPU.
#include <gtest/gtest.h>

#include <cmath>

#include "core/model.h"
#include "core/network/network_denoiser.h"
#include "samplers/engine.h"
#include "tests/network/parity.h"

namespace canvaslab {
namespace {

using parity::kGoldens;
using parity::Recording;

struct Course final : Observer {
  bool wants_logits() const override { return true; }
  void on_step(const StepRecord& r) override {
    canvas.emplace_back(r.canvas_in.begin(), r.canvas_in.end());
    logits.emplace_back(r.logits.begin(), r.logits.end());
    temperature.push_back(r.temperature);
  }
  bool operator==(const Course& other) const { return canvas == other.canvas && logits == other.logits; }
  std::vector<std::vector<int32_t>> canvas;
  std::vector<std::vector<float>> logits;
  std::vector<float> temperature;
};

Course run(const Denoiser& denoiser, const std::string& feedback, const std::string& temperature, RngMode rng = RngMode::kCounter) {
  const Recording r(kGoldens + "base/reference.h5");
  PlanRequest request;
  request.feedback = feedback, request.temperature = temperature, request.stop = "never", request.num_steps = 6, request.canvas_length = static_cast<int32_t>(r.length);
  request.max_new_tokens = 2 * static_cast<int32_t>(r.length), request.rng = rng;
  RowInput row;
  row.prompt.ids = r.prompts[0];
  Course out;
  generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1), &out);
  return out;
}

struct Path {
  std::string name, dtype;
  bool tensors;
};
class SelfConditioningOn : public ::testing::TestWithParam<Path> {
 protected:
  std::unique_ptr<Denoiser> denoiser() const {
    const ModelOptions options{.dtype = GetParam().dtype};
    return GetParam().tensors ? tensor_denoiser(kGoldens + "base", options) : open_model(kGoldens + "base", options);
  }
};
INSTANTIATE_TEST_SUITE_P(Paths, SelfConditioningOn, ::testing::Values(Path{"f32", "f32", false}, Path{"bf16", "bf16", false}, Path{"tensors_f32", "f32", true}, Path{"tensors_bf16", "bf16", true}),
                         [](const auto& param) { return param.param.name; });

/// At temperature 1 both feed back the very logits; and what is held is what was kept.
TEST_P(SelfConditioningOn, TheWholePredictionIsOnBitForBit) {
  const auto made = denoiser();
  for (const RngMode rng : {RngMode::kCounter, RngMode::kTorch}) {
    const Course on = run(*made, "on", "constant(1)", rng);
    ASSERT_GE(on.logits.size(), 6u);
    for (const char* same : {"stale(1)", "top_k(100000)", "temperature(1)"}) EXPECT_EQ(run(*made, same, "constant(1)", rng), on) << same;
    for (const char* other : {"off", "stale(2)", "top_k(1)", "temperature(0.5)"}) EXPECT_FALSE(run(*made, other, "constant(1)", rng) == on) << other;
  }
  EXPECT_EQ(run(*made, "stale(3, top_k(100000))", "constant(1)"), run(*made, "stale(3)", "constant(1)"));
}

/// The likeliest token alone is its embedding: the same bits as from logits that make all others impossible by their size, not by -inf.
TEST_P(SelfConditioningOn, TheLikeliestTokenAloneIsItsEmbedding) {
  const auto made = denoiser();
  const Course course = run(*made, "top_k(1)", "constant(0.7)");
  const Recording r(kGoldens + "base/reference.h5");
  const auto by_hand = [&](size_t step, float sign) {
    const size_t V = r.vocabulary;
    std::vector<float> given(r.length * V, -1e6f);
    for (size_t p = 0; p < r.length; ++p) {
      size_t best = 0;
      for (size_t v = 1; v < V; ++v)
        if (sign * course.logits[step - 1][p * V + v] > sign * course.logits[step - 1][p * V + best]) best = v;
      given[p * V + best] = 0;
    }
    const auto sequence = made->prefill({.ids = r.prompts[0], .token_types = {}, .media = {}, .left_padding = 0});
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.step_idx = static_cast<int32_t>(step), row.request.canvas = course.canvas[step], row.request.want_logits = true;
    row.request.self_conditioning = SelfConditioning::kGiven, row.request.given_logits = given;
    return made->denoise(std::span(&row, 1)).front().logits;
  };
  for (const size_t step : {1, 4}) {
    EXPECT_EQ(by_hand(step, 1), course.logits[step]) << step;
    EXPECT_NE(by_hand(step, -1), course.logits[step]) << "the least likely must show, step " << step;
  }
}

/// At other temperatures the network multiplies by 1 / T after it took off the maximum, where the engine divides first. For
/// logits up to 30 in size an exponent then differs by a few roundings of 30 / T: 4 * 2^-24 * 75 = 1.8e-5 at T = 0.4, a
/// probability by as much of itself. That is the size of other paths' roundings; 2e-5 of the largest logit holds for those, and
/// twice that for both together. In bf16 a probability may fall to the other side of a rounding, 2^-9 of itself.
TEST_P(SelfConditioningOn, TheStepsOwnTemperatureIsOnUpToRounding) {
  const auto made = denoiser();
  const Course on = run(*made, "on", "linear(0.8, 0.4)");
  const double tolerance = GetParam().dtype == "f32" ? 4e-5 : 0x1p-7;
  const auto apart = [&](const std::string& feedback) {
    const Course other = run(*made, feedback, "linear(0.8, 0.4)");
    double worst = 0, largest = 0;
    size_t steps = 0;
    for (size_t s = 0; s < 6 && other.canvas[s] == on.canvas[s]; ++s, ++steps)
      for (size_t i = 0; i < on.logits[s].size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(other.logits[s][i]) - on.logits[s][i]));
        largest = std::max(largest, std::abs(static_cast<double>(on.logits[s][i])));
      }
    EXPECT_GE(steps, 2u) << "the first step that is fed something has the same canvas";
    return worst / largest;
  };
  for (const char* same : {"top_k(100000)", "temperature(linear(0.8, 0.4))"}) {
    const double error = apart(same);
    EXPECT_LE(error, tolerance) << same;
    std::printf("%s: %.1e of the largest logit\n", same, error);
  }
  EXPECT_GT(apart("temperature(linear(0.3, 0.2))"), GetParam().dtype == "f32" ? 10 * tolerance : 0x1p-9) << "another temperature must show";
}

}  // namespace
}  // namespace canvaslab
