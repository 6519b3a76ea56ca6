// The exact posterior of the hidden Markov source against enumeration of every clean sequence.
#include "core/sources/hidden_markov.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/denoiser.h"

namespace canvaslab {
namespace {

constexpr int kStates = 3, kAlphabet = 3;
constexpr size_t kLength = 4;

/// Every sequence of kLength tokens with its prior probability by summing over state paths through the filter.
struct Enumeration {
  std::vector<std::vector<int32_t>> sequence;
  std::vector<double> prior;
  explicit Enumeration(const HiddenMarkov& source, std::span<const int32_t> context) {
    size_t count = 1;
    for (size_t i = 0; i < kLength; ++i) count *= kAlphabet;
    for (size_t code = 0; code < count; ++code) {
      std::vector<int32_t> tokens;
      for (size_t rest = code, p = 0; p < kLength; ++p, rest /= kAlphabet) tokens.push_back(static_cast<int32_t>(rest % kAlphabet));
      prior.push_back(brute_force(source, context, tokens));
      sequence.push_back(tokens);
    }
    double sum = 0;
    for (double p : prior) sum += p;
    for (double& p : prior) p /= sum;
  }
  /// Sum over all state paths of context and tokens: shares no code with the forward recursion.
  static double brute_force(const HiddenMarkov& s, std::span<const int32_t> context, std::span<const int32_t> tokens) {
    std::vector<int32_t> all(context.begin(), context.end());
    all.insert(all.end(), tokens.begin(), tokens.end());
    size_t paths = 1;
    for (size_t i = 0; i < all.size(); ++i) paths *= kStates;
    double total = 0;
    for (size_t code = 0; code < paths; ++code) {
      double p = 1;
      size_t previous = 0;
      for (size_t rest = code, i = 0; i < all.size(); ++i, rest /= kStates) {
        const size_t state = rest % kStates;
        p *= i == 0 ? s.stationary()[state] : s.transition()[previous * kStates + state];
        p *= s.emission()[state * kAlphabet + static_cast<size_t>(all[i])];
        previous = state;
      }
      total += p;
    }
    return total;
  }
  double likelihood(size_t i, std::span<const int32_t> canvas, double a) const {
    double p = 1;
    for (size_t k = 0; k < kLength; ++k) p *= a * (sequence[i][k] == canvas[k]) + (1 - a) / kAlphabet;
    return p;
  }
};

TEST(HiddenMarkov, LogProbEqualsTheSumOverPaths) {
  const HiddenMarkov source(kStates, kAlphabet, 1.5, 3);
  const std::vector<int32_t> context = {2, 0}, tokens = {1, 1, 0, 2};
  const double expected = std::log(Enumeration::brute_force(source, context, tokens) / Enumeration::brute_force(source, context, {}));
  EXPECT_NEAR(source.log_prob(tokens, context), expected, 1e-12);
}

TEST(HiddenMarkov, PosteriorAtAKnownLevelEqualsEnumeration) {
  const HiddenMarkov source(kStates, kAlphabet, 1.5, 3);
  const std::vector<int32_t> context = {1}, canvas = {0, 2, 2, 1};
  const Enumeration all(source, context);
  for (double a : {0.0, 0.3, 0.9, 1.0}) {
    double log_evidence = 0;
    const auto posterior = source.posterior(canvas, source.filter(source.stationary(), context), a, &log_evidence);
    double evidence = 0;
    std::vector<double> expected(kLength * kAlphabet, 0.0);
    for (size_t i = 0; i < all.prior.size(); ++i) {
      const double joint = all.prior[i] * all.likelihood(i, canvas, a);
      evidence += joint;
      for (size_t p = 0; p < kLength; ++p) expected[p * kAlphabet + static_cast<size_t>(all.sequence[i][p])] += joint;
    }
    EXPECT_NEAR(log_evidence, std::log(evidence), 1e-12);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(posterior[i], expected[i] / evidence, 1e-12) << "level " << a << " element " << i;
  }
}

TEST(HiddenMarkov, MarginalisedLevelEqualsFineNumericalIntegration) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=3, sharpness=1.5, seed=3, quadrature=16)");
  const HiddenMarkov source(kStates, kAlphabet, 1.5, 3);
  const std::vector<int32_t> canvas = {0, 2, 2, 1};
  const Enumeration all(source, {});
  // The integrand is a polynomial of degree kLength in the level: 16 Gauss nodes are exact; the check is a fine midpoint
  // rule of its own, whose error is below 1 / (24 n^2) times the second derivative, about 1e-8 at n = 20000.
  constexpr int kMidpoints = 20000;
  std::vector<double> expected(kLength * kAlphabet, 0.0);
  double evidence = 0;
  for (int k = 0; k < kMidpoints; ++k) {
    for (size_t i = 0; i < all.prior.size(); ++i) {
      const double joint = all.prior[i] * all.likelihood(i, canvas, (k + 0.5) / kMidpoints);
      evidence += joint;
      for (size_t p = 0; p < kLength; ++p) expected[p * kAlphabet + static_cast<size_t>(all.sequence[i][p])] += joint;
    }
  }
  const auto sequence = denoiser->prefill({});
  DenoiseRow row{.sequence = sequence.get(), .request = {}};
  row.request.canvas = canvas;
  row.request.want_logits = true;
  const auto result = std::move(denoiser->denoise(std::span(&row, 1)).front());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(std::exp(result.logits[i]), expected[i] / evidence, 1e-6) << "element " << i;  // logits are f32
}

StepResult ask(const Denoiser& denoiser, Sequence& sequence, const std::vector<int32_t>& canvas, std::optional<double> level) {
  DenoiseRow row{.sequence = &sequence, .request = {}};
  row.request.canvas = canvas;
  row.request.noise_level = level;
  row.request.want_logits = true;
  return std::move(denoiser.denoise(std::span(&row, 1)).front());
}

/// Posterior [L, V] given context by enumeration: at one level, or with the level integrated exactly over (0, 1), where
/// the likelihood is the polynomial prod_k (a [match] + (1 - a) / V); 8 Gauss nodes are exact for its degree 4, and Simpson's
/// rule on a fine grid of its own keeps the check apart from the code under test.
std::vector<double> enumerated(const HiddenMarkov& source, const std::vector<int32_t>& context, const std::vector<int32_t>& canvas, std::optional<double> level) {
  const Enumeration all(source, context);
  std::vector<double> out(kLength * kAlphabet, 0.0);
  constexpr int kSteps = 200;  // Simpson's error: (1/180) (1/200)^4 times a fourth derivative below 24, under 1e-10
  double evidence = 0;
  for (size_t i = 0; i < all.prior.size(); ++i) {
    double likelihood = 0;
    if (level) likelihood = all.likelihood(i, canvas, *level);
    for (int k = 0; !level && k <= kSteps; ++k)
      likelihood += all.likelihood(i, canvas, static_cast<double>(k) / kSteps) * (k == 0 || k == kSteps ? 1 : k % 2 ? 4 : 2) / (3.0 * kSteps);
    evidence += all.prior[i] * likelihood;
    for (size_t p = 0; p < kLength; ++p) out[p * kAlphabet + static_cast<size_t>(all.sequence[i][p])] += all.prior[i] * likelihood;
  }
  for (double& p : out) p /= evidence;
  return out;
}

/// f32 logits: relative error of p is |ln p| 2^-24, below 2e-6 for p > 1e-12.
void expect_posterior(const std::vector<float>& logits, const std::vector<double>& expected, const std::string& what) {
  ASSERT_EQ(logits.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(std::exp(static_cast<double>(logits[i])), expected[i], 2e-6 * expected[i] + 1e-9) << what << ", position " << i / kAlphabet << ", token " << i % kAlphabet;
}

TEST(HmmDenoiser, PromptAndCommittedCanvasesConditionTheNextLevelKnownAndUnknown) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=3, sharpness=1.5, seed=3)");
  const auto agnostic = denoisers().make("hmm(states=3, alphabet=3, sharpness=1.5, seed=3, use_level=off)");
  const HiddenMarkov source(kStates, kAlphabet, 1.5, 3);
  const std::vector<int32_t> first = {2, 0, 1, 1}, canvas = {0, 2, 2, 1};
  Prompt prompt;
  prompt.ids = {1, 2};
  const std::vector<int32_t> with_prompt = prompt.ids, with_both = {1, 2, 2, 0, 1, 1};
  const auto s = denoiser->prefill(prompt);
  const auto t = agnostic->prefill(prompt);
  for (const auto* context : {&with_prompt, &with_both}) {
    for (std::optional<double> level : std::initializer_list<std::optional<double>>{0.0, 0.4, 1.0, std::nullopt})
      expect_posterior(ask(*denoiser, *s, canvas, level).logits, enumerated(source, *context, canvas, level),
                       fmt::format("context of {}, level {}", context->size(), level ? std::to_string(*level) : "unknown"));
    expect_posterior(ask(*agnostic, *t, canvas, 0.4).logits, enumerated(source, *context, canvas, std::nullopt), "use_level=off must ignore the level it is told");
    denoiser->append(*s, first, false);
    agnostic->append(*t, first, false);
  }
  const auto wrong = enumerated(source, with_prompt, canvas, 0.4), right = enumerated(source, with_both, canvas, 0.4);
  double moved = 0;
  for (size_t i = 0; i < right.size(); ++i) moved = std::max(moved, std::abs(right[i] - wrong[i]));
  EXPECT_GT(moved, 0.01) << "the context must matter, or nothing was tested";
  EXPECT_FALSE(agnostic->facts().uses_level);
  EXPECT_FALSE(denoiser->facts().absorbing) << "absorbing corruption would need its own enumeration";
}

TEST(HmmDenoiser, QuadratureIsExactFromHalfTheLengthOn) {
  const std::vector<int32_t> canvas = {0, 2, 2, 1, 1, 0, 2, 0, 0, 1};  // degree 10 in the level: 6 nodes are exact
  const auto logits = [&](int nodes) {
    const auto denoiser = denoisers().make(fmt::format("hmm(states=3, alphabet=3, sharpness=1.5, seed=3, quadrature={})", nodes));
    return ask(*denoiser, *denoiser->prefill({}), canvas, std::nullopt).logits;
  };
  const auto exact = logits(200);
  const auto worst = [&](int nodes) {
    const auto got = logits(nodes);
    double out = 0;
    for (size_t i = 0; i < got.size(); ++i) out = std::max(out, std::abs(std::exp(static_cast<double>(got[i])) - std::exp(static_cast<double>(exact[i]))));
    return out;
  };
  EXPECT_LT(worst(6), 2e-6);
  EXPECT_LT(worst(16), 2e-6);
  EXPECT_GT(worst(2), 1e-4) << "too few nodes must show";
}

TEST(HiddenMarkov, ImpossibleContextsAreRefused) {
  const HiddenMarkov source({1, 0, 0, 1}, {1, 0, 0, 1}, 2);  // two states that never leave, each with its own token
  EXPECT_NO_THROW(source.filter(source.stationary(), std::vector<int32_t>{0, 0}));
  try {
    source.filter(source.stationary(), std::vector<int32_t>{0, 1});
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("token 1 at position 1 has probability 0"), std::string::npos);
  }
}

TEST(HiddenMarkov, SamplesFollowThePairLaw) {
  const HiddenMarkov source(4, 5, 1.0, 7);
  const auto law = source.pair_law();
  std::vector<double> count(25, 0.0);
  constexpr int kSamples = 20000;
  for (int i = 0; i < kSamples; ++i) {
    const auto tokens = source.sample(2, {.seed = 11, .item = static_cast<uint64_t>(i)});
    count[static_cast<size_t>(tokens[0] * 5 + tokens[1])] += 1;
  }
  double chi_square = 0;
  for (size_t i = 0; i < 25; ++i) chi_square += (count[i] - kSamples * law[i]) * (count[i] - kSamples * law[i]) / (kSamples * law[i]);
  EXPECT_LT(chi_square, 51.2) << "24 degrees of freedom, p = 0.001";
}

}  // namespace
}  // namespace canvaslab
