// Rankings over several runs: which pairs are decided, by what, and what is refused.
#include "eval/ranking.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

constexpr size_t kItems = 400;

/// A run of one configuration per accuracy: its first `accuracy` share of items is right, after a rotation by `shift` items. Items 0 to 199 are "easy", the others "hard".
RunScores run_of(const std::string& path, const std::vector<double>& accuracies, size_t shift = 0) {
  RunScores out;
  out.path = path, out.denoiser = path, out.dataset = "quiz", out.dataset_sha256 = "aa", out.score_name = "accuracy", out.quality_name = "accuracy_mean";
  for (size_t i = 0; i < kItems; ++i) out.items.push_back(fmt::format("i{:03}", i)), out.categories.push_back(i < kItems / 2 ? "easy" : "hard");
  for (size_t c = 0; c < accuracies.size(); ++c) {
    ConfigScores config;
    config.settings = fmt::format("sampler=s{}; num_steps=4", c);
    config.left_out.assign(kJackknifeGroups, 0);
    config.tokens_per_forward = static_cast<double>(c + 1);
    for (size_t i = 0; i < kItems; ++i) {
      const bool right = static_cast<double>((i * 7 + shift) % kItems) < accuracies[c] * kItems;
      config.items[out.items[i]] = {.mean = right ? 1.0 : 0.0, .count = 1, .binary = true};
    }
    out.configs.push_back(std::move(config));
  }
  return out;
}

/// The place of configuration `sampler` in the ranking.
size_t place(const Ranking& ranking, const std::string& sampler) {
  for (size_t c = 0; c < ranking.configs.size(); ++c)
    if (ranking.configs[c].settings.find("sampler=" + sampler + ";") != std::string::npos) return c;
  ADD_FAILURE() << "no " << sampler;
  return 0;
}

int order(const Ranking& ranking, const std::string& a, const std::string& b) { return ranking.order[place(ranking, a)][place(ranking, b)]; }

std::string refusal(std::vector<RunScores> runs, const RankingOptions& options = {}) {
  try {
    rank_runs(std::move(runs), options);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(Ranking, SortsAndDecidesWhatIsFarApart) {
  // Nested right answers: the paired difference of .9 and .5 has 160 discordant items, all one way.
  const Ranking one = rank_runs({run_of("a", {0.5, 0.9, 0.905})});
  EXPECT_EQ(one.configs[0].settings, "sampler=s2; num_steps=4");
  EXPECT_EQ(one.num_pairs, 3u);
  EXPECT_EQ(order(one, "s1", "s0"), 1);
  EXPECT_EQ(order(one, "s0", "s1"), -1);
  EXPECT_EQ(order(one, "s1", "s2"), 0) << "two of 400 items differ";
  EXPECT_EQ(one.num_agreed, 2u);
  EXPECT_EQ(one.configs[place(one, "s2")].better_than, 1u);
  EXPECT_EQ(one.configs[place(one, "s0")].worse_than, 2u);
}

TEST(Ranking, CountsOnlyWhatAllRunsAgreeOn) {
  const Ranking two = rank_runs({run_of("a", {0.5, 0.9, 0.7}), run_of("b", {0.9, 0.5, 0.2})});
  EXPECT_EQ(order(two, "s0", "s1"), 0) << "one way in a, the other way in b";
  EXPECT_EQ(order(two, "s1", "s2"), 1);
  EXPECT_EQ(order(two, "s0", "s2"), 0);
  EXPECT_EQ(two.num_agreed, 1u);
  EXPECT_EQ(two.num_opposite, 2u);
  ASSERT_EQ(two.configs[place(two, "s0")].quality.size(), 2u);
  EXPECT_NEAR(two.configs[place(two, "s0")].quality[0], 0.5, 1e-12);
  EXPECT_NEAR(two.configs[place(two, "s0")].quality[1], 0.9, 1e-12);
  EXPECT_NEAR(two.configs[place(two, "s0")].mean, 0.7, 1e-12);
}

TEST(Ranking, FindsNothingAmongEquals) {
  // 20 configurations of the same true accuracy: 190 pairs at alpha = .05, and Holm still lets at most one run in twenty rank any. 40 runs of noise: 9 or more happen once in 10^4
  // (binomial, p = .05), so the seed is fixed and the count recorded below is what a broken adjustment would exceed: unadjusted, every run ranks some pair.
  size_t with_ranking = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    RunScores run = run_of("a", std::vector<double>(20, 0.5));
    DrawKey key{.seed = 77, .item = seed};
    uint32_t at = 0;
    for (auto& config : run.configs)
      for (auto& [id, score] : config.items) score.mean = key.bits(Purpose::kPrompt, at++)[0] & 1;
    with_ranking += rank_runs({run}).num_agreed > 0;
  }
  EXPECT_LE(with_ranking, 8u);
}

TEST(Ranking, OfACategoryUsesItsItemsOnly) {
  RunScores run = run_of("a", {0.5, 0.5});
  for (size_t i = 0; i < kItems; ++i) {
    run.configs[0].items[run.items[i]].mean = i < 200;
    run.configs[1].items[run.items[i]].mean = i >= 150;
  }
  EXPECT_EQ(order(rank_runs({run}, {.category = "easy"}), "s0", "s1"), 1);
  EXPECT_EQ(order(rank_runs({run}, {.category = "hard"}), "s0", "s1"), -1);
  EXPECT_NE(refusal({run}, {.category = "odd"}).find("there are: easy, hard"), std::string::npos);
}

TEST(Ranking, MarksWhatNobodyBeatsInBothAxes) {
  const Ranking ranking = rank_runs({run_of("a", {0.9, 0.5, 0.6})});  // tokens per forward 1, 2, 3
  EXPECT_TRUE(ranking.configs[place(ranking, "s0")].front);
  EXPECT_FALSE(ranking.configs[place(ranking, "s1")].front);
  EXPECT_TRUE(ranking.configs[place(ranking, "s2")].front);
  const Ranking two = rank_runs({run_of("a", {0.9, 0.5, 0.6}), run_of("b", {0.9, 0.5, 0.95})});
  EXPECT_FALSE(two.configs[place(two, "s0")].front) << "not in b";
}

TEST(Ranking, OfDivergencesByTheJackknife) {
  RunScores run = run_of("a", {0.5, 0.5, 0.5});
  run.quality_name = "pair_divergence_nats";
  for (size_t c = 0; c < 3; ++c) {
    run.configs[c].quality = std::array{0.01, 0.05, 0.0101}[c];
    for (size_t g = 0; g < kJackknifeGroups; ++g) run.configs[c].left_out[g] = run.configs[c].quality + 1e-4 * std::sin(static_cast<double>(g * (c + 1)));
  }
  const Ranking ranking = rank_runs({run});
  EXPECT_EQ(order(ranking, "s0", "s1"), 1) << "a smaller divergence is better";
  EXPECT_EQ(order(ranking, "s0", "s2"), 0);
  EXPECT_EQ(ranking.configs[0].settings, "sampler=s0; num_steps=4");
  EXPECT_NE(refusal({run}, {.category = "easy"}).find("has no categories"), std::string::npos);
}

TEST(Ranking, RefusesRunsOfDifferentPlans) {
  EXPECT_NE(refusal({run_of("a", {0.5})}).find("fewer than two"), std::string::npos);
  EXPECT_NE(refusal({run_of("a", {0.5, 0.6}), run_of("b", {0.5, 0.6, 0.7})}).find("only one of them ran 'sampler=s2"), std::string::npos);
  RunScores other = run_of("b", {0.5, 0.6});
  other.dataset_sha256 = "bb";
  EXPECT_NE(refusal({run_of("a", {0.5, 0.6}), other}).find("different items"), std::string::npos);
  other = run_of("b", {0.5, 0.6});
  other.score_name = "log_likelihood";
  EXPECT_NE(refusal({run_of("a", {0.5, 0.6}), other}).find("scored differently"), std::string::npos);
}

TEST(Ranking, AsMarkdownHasARowEach) {
  const std::string text = ranking_markdown(rank_runs({run_of("a", {0.5, 0.9}), run_of("b", {0.5, 0.9})}), {});
  EXPECT_NE(text.find("| s1 * | 2.00 | 0.9 | 0.9 | 0.9 | 1 | 0 |"), std::string::npos) << text;
  EXPECT_NE(text.find("Of 1 pairs of configurations 1 are ranked alike in all 2 runs"), std::string::npos) << text;
}

}  // namespace
}  // namespace canvaslab
