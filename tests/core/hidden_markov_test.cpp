// The exact posterior of the hidden Markov source against enumeration of every clean sequence.
#include "core/sources/hidden_markov.h"

#include <gtest/gtest.h>

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
