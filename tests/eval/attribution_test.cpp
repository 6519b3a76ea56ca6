// Taking a difference apart: Shapley values, intervals, mixtures of two configurations.
#include "eval/attribution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.h"
#include "eval/mixtures.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The definition word for word: every order of joining, what each player adds when it comes.
std::vector<double> over_all_orders(const std::vector<double>& values) {
  size_t k = 0;
  while ((size_t{1} << k) < values.size()) ++k;
  std::vector<size_t> order(k);
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> out(k);
  double orders = 0;
  do {
    size_t in = 0;
    for (const size_t i : order) {
      out[i] += values[in | size_t{1} << i] - values[in];
      in |= size_t{1} << i;
    }
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  for (double& v : out) v /= orders;
  return out;
}

/// Worst distance of two lists. An entry is a sum of 2^(k-1) <= 32 differences of numbers up to 1 with weights that sum to
/// 1: rounding stays below (32 + 3) 2^-53 2 = 8e-15, in either way of adding.
double worst(const std::vector<double>& a, const std::vector<double>& b) {
  double out = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) out = std::max(out, std::abs(a[i] - b[i]));
  return out;
}
constexpr double kRounding = 8e-15;

TEST(Shapley, IsTheMeanOverAllOrdersAndSumsToTheDifference) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> unit(-1, 1);
  for (size_t k = 0; k <= kMostFactors; ++k) {
    std::vector<double> values(size_t{1} << k);
    for (double& v : values) v = unit(random);
    const auto parts = shapley_values(values);
    EXPECT_LT(worst(parts, over_all_orders(values)), 100 * kRounding) << k << " factors; 720 orders add up 720 roundings";
    EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), values.back() - values.front(), static_cast<double>(k + 1) * kRounding) << k;
    if (k == 0) continue;
    auto wrong = values;
    wrong[values.size() / 2] += 0.01;
    EXPECT_GT(worst(shapley_values(wrong), over_all_orders(values)), 1e-5) << "another value would be seen";
    auto swapped = values;  // B against A: complement
    std::reverse(swapped.begin(), swapped.end());
    auto negated = shapley_values(swapped);
    for (double& v : negated) v = -v;
    EXPECT_LT(worst(parts, negated), 2 * kRounding) << k;
  }
}

TEST(Shapley, HasTheAnswersOfKnownGames) {
  std::vector<double> additive(16), with_dummy(8);
  const double part[] = {0.5, -0.25, 2, 0.125};
  for (size_t s = 0; s < 16; ++s)
    for (size_t i = 0; i < 4; ++i) additive[s] += s >> i & 1 ? part[i] : 0;
  EXPECT_LT(worst(shapley_values(additive), {0.5, -0.25, 2, 0.125}), 4 * kRounding);
  // The level is nothing without the sampler that follows it: v = 0, 1, 0, 3 -> (1 + 3) / 2 and (0 + 2) / 2.
  EXPECT_LT(worst(shapley_values(std::vector<double>{0, 1, 0, 3}), {2, 1}), kRounding);
  for (size_t s = 0; s < 8; ++s) with_dummy[s] = std::sqrt(2.0 + static_cast<double>(s & 5));  // player 1 changes nothing
  EXPECT_EQ(shapley_values(with_dummy)[1], 0.0) << "exactly";
  EXPECT_THROW(shapley_values(std::vector<double>{1, 2, 3}), std::logic_error);
}

TEST(TakeApart, MeansHaveTheErrorOfTheirDifferences) {
  // Item i: factor 0 adds 2 + x_i, factor 1 adds -1 everywhere, factor 2 nothing. Additive, so parts are means.
  std::mt19937 random(8);
  std::normal_distribution<double> normal(0, 1);
  const size_t n = 200;
  std::vector<double> x(n), base(n), gain(n);
  for (size_t i = 0; i < n; ++i) x[i] = normal(random), base[i] = 3 * normal(random), gain[i] = 2 + x[i];
  std::vector<std::vector<double>> rows(8, std::vector<double>(n));
  for (size_t s = 0; s < 8; ++s)
    for (size_t i = 0; i < n; ++i) rows[s][i] = base[i] + (s & 1 ? gain[i] : 0) - (s & 2 ? 1 : 0);
  const auto parts = take_apart(mean_values(rows), n, 1, 2000);
  const MeanError mean = mean_error(gain);
  EXPECT_NEAR(parts.factors[0].contribution, mean.mean, 1e-13);
  EXPECT_NEAR(parts.factors[1].contribution, -1, 1e-13);
  EXPECT_EQ(parts.factors[2].contribution, 0.0);
  EXPECT_EQ(parts.factors[2].interval.low, 0.0);
  EXPECT_EQ(parts.factors[2].interval.high, 0.0);
  EXPECT_NEAR(parts.total.contribution, mean.mean - 1, 1e-13);
  EXPECT_NEAR(parts.factors[0].alone, mean.mean, 1e-13);
  EXPECT_NEAR(parts.factors[0].last, mean.mean, 1e-13);
  // The bootstrap's error of a mean is sqrt((n - 1) / n) of the usual one; 2000 draws know it to 1 / sqrt(4000): four of these.
  EXPECT_NEAR(parts.factors[0].standard_error / mean.standard_error, std::sqrt((n - 1.0) / n), 4 / std::sqrt(4000.0));
  EXPECT_LT(parts.factors[1].standard_error, 1e-12) << "the same everywhere: what is drawn does not matter";
  EXPECT_LT(std::abs(parts.factors[0].bias), 4 * mean.standard_error / std::sqrt(2000.0));
  EXPECT_NEAR(parts.factors[0].interval.high - parts.factors[0].interval.low, 2 * kZ95 * parts.factors[0].standard_error, 1e-14);
  EXPECT_EQ(take_apart(mean_values(rows), n, 1, 50).factors[0].standard_error, take_apart(mean_values(rows), n, 1, 50).factors[0].standard_error);
  EXPECT_THROW(take_apart(mean_values({{1.0}}), 1, 1, 10), UserError);
  EXPECT_THROW(take_apart(mean_values(rows), n, 1, 1), UserError);
}

TEST(TakeApart, DivergencesAreThoseOfTheSweep) {
  std::mt19937 random(4);
  const int32_t V = 7;
  std::vector<double> law(49);
  for (double& p : law) p = static_cast<double>(1 + random() % 9);
  law[5] = 0;  // a pair that cannot be
  const double total = std::accumulate(law.begin(), law.end(), 0.0);
  for (double& p : law) p /= total;
  std::vector<std::vector<std::vector<std::vector<int32_t>>>> texts(2, std::vector<std::vector<std::vector<int32_t>>>(12));
  for (auto& mixture : texts)
    for (auto& item : mixture)
      for (int repeat = 0; repeat < 2; ++repeat) {
        item.emplace_back(9);
        for (auto& token : item.back()) token = static_cast<int32_t>(random() % static_cast<uint32_t>(&mixture == &texts[0] ? V : 3));
      }
  const auto values = divergence_values(texts, law, V);
  const auto expected = [&](size_t mixture, const std::vector<uint32_t>& weights) {  // items written out as often as they count
    std::vector<std::span<const int32_t>> sequences;
    std::vector<uint32_t> items;
    for (uint32_t i = 0; i < weights.size(); ++i)
      for (uint32_t copy = 0; copy < weights[i]; ++copy)
        for (const auto& tokens : texts[mixture][i]) sequences.emplace_back(tokens), items.push_back(i);
    return pair_divergence(sequences, items, law, V).value;
  };
  std::vector<uint32_t> once(12, 1), drawn(12);
  for (int i = 0; i < 12; ++i) ++drawn[random() % 12];
  for (const auto& weights : {once, drawn})
    for (size_t mixture : {0u, 1u}) EXPECT_NEAR(values(weights)[mixture], expected(mixture, weights), 1e-14) << "49 terms below 1 in two orders";
  EXPECT_GT(std::abs(values(once)[0] - values(drawn)[0]), 1e-6) << "other weights would be seen";
}

PlanRequest request(const std::string& sampler, int32_t steps) {
  PlanRequest out;
  out.sampler = sampler, out.num_steps = steps, out.temperature = "constant(1)", out.max_new_tokens = 8;
  return out;
}

std::vector<std::string> names(const Mixtures& mixtures) {
  std::vector<std::string> out;
  for (const auto& factor : mixtures.factors) out.push_back(factor.name);
  return out;
}

TEST(Mixtures, AreAllCombinationsAndContradictionsAreJoined) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=6, length=8)");
  const auto plan_text = [&](const PlanRequest& asked) {
    std::string out;
    for (const auto& [key, value] : resolve_plan(asked, *denoiser).settings()) out += key + "=" + value + ";";
    return out;
  };
  const PlanRequest a = request("entropy_bound(0.1)", 4), b = request("ddim", 4);
  const auto mixtures = mix(a, b, *denoiser);
  EXPECT_THAT(names(mixtures), ElementsAre("order + stop rule", "emission", "level knowledge"));
  EXPECT_THAT(mixtures.notes, ElementsAre(HasSubstr("'order + stop rule' is one factor")));
  ASSERT_EQ(mixtures.requests.size(), 8u);
  for (const auto& mixture : mixtures.requests) EXPECT_NO_THROW(resolve_plan(mixture, *denoiser));
  EXPECT_EQ(plan_text(mixtures.requests[0]), plan_text(a));
  EXPECT_EQ(plan_text(mixtures.requests[7]), plan_text(b));
  EXPECT_EQ(plan_text(mixtures.requests[4]), plan_text(a)) << "the entropy bound has no use for the level";
  EXPECT_THAT(plan_text(mixtures.requests[1]), HasSubstr("sampler=ddim;"));
  EXPECT_THAT(plan_text(mixtures.requests[1]), HasSubstr("noise_level=withheld"));
  EXPECT_THAT(plan_text(mixtures.requests[1]), HasSubstr("emission=argmax"));

  PlanRequest never = a;
  never.stop = "never";
  EXPECT_THAT(names(mix(never, b, *denoiser)), ElementsAre("order", "emission", "level knowledge"));
  EXPECT_TRUE(mix(never, b, *denoiser).notes.empty());
  PlanRequest many = a;
  many.temperature = "constant(0.5)", many.emission = "canvas", many.feedback = "off", many.num_steps = 8, many.top_k = 3;
  EXPECT_THAT(names(mix(a, many, *denoiser)), ElementsAre("emission", "temperature", "self-conditioning", "steps", "ramp length", "filters"));
  many.stop = "never";
  const auto refusal = [&](const PlanRequest& from, const PlanRequest& to, const Denoiser& on) {
    try {
      mix(from, to, on);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("(nothing was thrown)");
  };
  EXPECT_THAT(refusal(a, many, *denoiser), HasSubstr("differ in 7 ways"));
  EXPECT_THAT(refusal(a, a, *denoiser), HasSubstr("the same configuration"));
  PlanRequest longer = b;
  longer.max_new_tokens = 16;
  EXPECT_THAT(refusal(a, longer, *denoiser), HasSubstr("A writes 8 tokens, B 16"));
  PlanRequest contradiction = b;
  contradiction.stop = "max_steps(2)";
  EXPECT_THAT(refusal(a, contradiction, *denoiser), HasSubstr("configuration B: sampler 'ddim' follows a noise level"));

  const auto blind = denoisers().make("hmm(states=3, alphabet=6, length=8, use_level=off)");
  const auto without = mix(never, b, *blind);
  EXPECT_THAT(names(without), ElementsAre("order", "emission"));
  EXPECT_THAT(without.notes, ElementsAre(HasSubstr("does not read the noise level")));
  EXPECT_EQ(resolve_plan(without.requests[3], *blind).settings(), resolve_plan(b, *blind).settings());
}

}  // namespace
}  // namespace canvaslab
