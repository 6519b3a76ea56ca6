// perturbed and stale: what they change of the denoiser inside them, and what not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/denoiser.h"

namespace canvaslab {
namespace {

const std::string kInner = "hmm(states=3, alphabet=5, length=6)";

std::vector<float> ask(const Denoiser& denoiser, Sequence& sequence, const std::vector<int32_t>& canvas, int32_t step_idx, std::optional<double> level, int32_t canvas_idx = 0) {
  DenoiseRow row{.sequence = &sequence, .request = {}};
  row.request.canvas = canvas;
  row.request.step_idx = step_idx;
  row.request.canvas_idx = canvas_idx;
  row.request.noise_level = level;
  row.request.want_logits = true;
  return denoiser.denoise(std::span(&row, 1)).front().logits;
}
std::vector<float> ask(const std::string& text, const std::vector<int32_t>& canvas, std::optional<double> level, std::vector<int32_t> prompt = {}) {
  const auto denoiser = denoisers().make(text);
  Prompt p;
  p.ids = std::move(prompt);
  return ask(*denoiser, *denoiser->prefill(p), canvas, 0, level);
}

TEST(Perturbed, IsItsInnerDenoiserWithoutErrorsAndScalesByOverconfidence) {
  const std::vector<int32_t> canvas = {0, 4, 2, 2, 1, 3};
  const auto plain = ask(kInner, canvas, 0.4), none = ask("perturbed(" + kInner + ")", canvas, 0.4);
  EXPECT_EQ(plain, none);
  const auto sure = ask("perturbed(" + kInner + ", overconfidence=0.5)", canvas, 0.4);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(sure[i], 1.5f * plain[i]);
  // Level 0.4 has log-odds ln(2/3); one more is the level 1 / (1 + 1.5 / e).
  const auto wrong = ask("perturbed(" + kInner + ", level_error=1)", canvas, 0.4), told = ask(kInner, canvas, 1 / (1 + 1.5 / std::exp(1.0)));
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(wrong[i], told[i], 1e-5);
  EXPECT_NE(wrong, plain);
  EXPECT_EQ(ask("perturbed(" + kInner + ", level_error=1)", canvas, std::nullopt), ask(kInner, canvas, std::nullopt)) << "an unknown level cannot be misjudged";
  EXPECT_THROW(denoisers().make("perturbed(hmm(use_level=off), level_error=1)"), UserError);
  EXPECT_THROW(denoisers().make("perturbed(hmm, overconfidence=-1)"), UserError);
}

TEST(Perturbed, NoiseIsNormalAndAFixedFunctionOfTheQuestion) {
  const std::string text = "perturbed(" + kInner + ", noise=0.5)";
  const std::vector<int32_t> canvas = {0, 4, 2, 2, 1, 3};
  EXPECT_EQ(ask(text, canvas, 0.4), ask(text, canvas, 0.4));
  const auto noise_of = [&](const std::string& t, const std::vector<int32_t>& c, const std::vector<int32_t>& prompt) {
    auto noisy = ask(t, c, 0.4, prompt);
    const auto plain = ask(kInner, c, 0.4, prompt);
    for (size_t i = 0; i < noisy.size(); ++i) noisy[i] -= plain[i];
    return noisy;
  };
  const auto here = noise_of(text, canvas, {});
  EXPECT_NE(here, noise_of(text, {1, 4, 2, 2, 1, 3}, {})) << "another canvas";
  EXPECT_NE(here, noise_of(text, canvas, {1})) << "another context";
  EXPECT_NE(here, noise_of("perturbed(" + kInner + ", noise=0.5, seed=2)", canvas, {})) << "another seed";
  double sum = 0, squares = 0, cross = 0;
  int count = 0;
  for (int32_t a = 0; a < 5; ++a)
    for (int32_t b = 0; b < 5; ++b) {
      const auto noise = noise_of(text, {a, b, 2, 2, 1, 3}, {});
      for (size_t i = 0; i < noise.size(); ++i) {
        sum += noise[i] / 0.5, squares += std::pow(noise[i] / 0.5, 2), ++count;
        if (i > 0) cross += noise[i] * noise[i - 1] / 0.25;
      }
    }
  // n = 750 standard normals: mean and neighbours' products within 4 / sqrt(n), mean square within 4 sqrt(2 / n).
  EXPECT_EQ(count, 750);
  EXPECT_LT(std::abs(sum / count), 4 / std::sqrt(count));
  EXPECT_LT(std::abs(cross / count), 4 / std::sqrt(count));
  EXPECT_LT(std::abs(squares / count - 1), 4 * std::sqrt(2.0 / count));
}

TEST(Perturbed, CausalLogitsAreOneFunctionOfTheContext) {
  const auto denoiser = denoisers().make("perturbed(" + kInner + ", noise=0.5)");
  const auto s = denoiser->prefill({}), t = denoiser->prefill({});
  const std::vector<int32_t> canvas = {1, 2, 3};
  const auto logits = denoiser->append(*s, canvas, true);
  denoiser->append(*t, std::span(canvas).first(2), false);
  EXPECT_EQ(std::vector<float>(logits.begin() + 5, logits.begin() + 10), denoiser->next_logits(*t)) << "whether asked along the way or at the end";
}

TEST(Stale, SeesItselfNowAndTheOthersAsAtTheLastFullStep) {
  const auto inner = denoisers().make(kInner), stale = denoisers().make("stale(" + kInner + ", refresh=3)");
  const auto s = stale->prefill({}), plain = inner->prefill({});
  const std::vector<int32_t> first = {0, 4, 2, 2, 1, 3}, now = {0, 1, 2, 2, 4, 3};
  EXPECT_EQ(ask(*stale, *s, first, 0, 0.2), ask(*inner, *plain, first, 0, 0.2));
  const auto fork = s->fork();
  for (int32_t step : {1, 2}) {
    const auto got = ask(*stale, *s, now, step, 0.4);
    for (size_t p = 0; p < 6; ++p) {
      auto seen = first;
      seen[p] = now[p];
      const auto expected = ask(*inner, *plain, seen, step, 0.4);
      for (size_t v = 0; v < 5; ++v) EXPECT_EQ(got[p * 5 + v], expected[p * 5 + v]) << "step " << step << " position " << p;
    }
    EXPECT_NE(got, ask(*inner, *plain, now, step, 0.4)) << "staleness must show";
  }
  EXPECT_EQ(ask(*stale, *s, now, 3, 0.4), ask(*inner, *plain, now, 3, 0.4)) << "a full step again";
  EXPECT_NE(ask(*stale, *fork, now, 1, 0.4), ask(*inner, *plain, now, 1, 0.4)) << "a fork keeps its own snapshot";
  EXPECT_EQ(ask(*stale, *fork, now, 1, 0.4, 1), ask(*inner, *plain, now, 1, 0.4)) << "a new canvas starts with a full step";
  EXPECT_TRUE(stale->facts().carries_steps);
  EXPECT_FALSE(denoisers().make("stale(" + kInner + ", refresh=1)")->facts().carries_steps);
}

}  // namespace
}  // namespace canvaslab
