// Runs side by side: what is paired, what is refused, numbers worked out by hand.
#include "eval/compare.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// A run of one configuration with these scores of items i0, i1, ...
RunScores run_of(const std::string& path, const std::vector<double>& scores, const std::string& settings = "sampler=one; num_steps=4") {
  RunScores out;
  out.path = path, out.dataset = "quiz", out.dataset_sha256 = "aa", out.model_sha256 = "mm", out.dtype = "f32";
  out.score_name = "accuracy", out.quality_name = "agreement_mean";
  ConfigScores config;
  config.settings = settings;
  config.left_out.assign(kJackknifeGroups, 0);
  for (size_t i = 0; i < scores.size(); ++i) {
    out.items.push_back("i" + std::to_string(i));
    if (std::isnan(scores[i])) continue;  // failed
    config.items[out.items.back()] = {.mean = scores[i], .count = 1, .binary = scores[i] == 0 || scores[i] == 1};
  }
  out.configs.push_back(std::move(config));
  return out;
}

std::string refusal(const RunScores& a, const RunScores& b, const CompareOptions& options = {}) {
  try {
    compare_runs(a, b, options);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(CompareRuns, NamesFlipsAndTestsThem) {
  const auto all = compare_runs(run_of("A", {1, 1, 0, 0, 1, 0}), run_of("B", {0, 1, 1, 1, 1, std::nan("")}, "sampler=two; num_steps=4; rng=counter"), {});
  ASSERT_EQ(all.pairs.size(), 1u) << "one configuration each: they are the pair";
  const auto& pair = all.pairs[0];
  EXPECT_EQ(pair.num_items, 5u) << "the item that failed in B is left out";
  EXPECT_TRUE(pair.binary);
  EXPECT_EQ(pair.only_a, std::vector<std::string>{"i0"});
  EXPECT_EQ(pair.only_b, (std::vector<std::string>{"i2", "i3"}));
  EXPECT_DOUBLE_EQ(pair.mean_a, 0.6);
  EXPECT_DOUBLE_EQ(pair.difference, 0.2);
  EXPECT_NEAR(pair.p_value, 1, 1e-14);  // 1 against 2: 2 (1 + 3) / 8
  EXPECT_NEAR(pair.mcnemar.mid_p, 1 - 3.0 / 8, 1e-14);
  ASSERT_EQ(pair.settings.size(), 2u);
  EXPECT_EQ(pair.settings[0].key + pair.settings[0].a + pair.settings[0].b, "sampleronetwo");
  EXPECT_EQ(pair.settings[1].key + pair.settings[1].a + pair.settings[1].b, "rngcounter");
}

TEST(CompareRuns, MeansOfOtherScoresAreTestedBySignFlips) {
  CompareOptions options;
  options.margin = 10;
  const auto all = compare_runs(run_of("A", {0.5, 0.25, 2, 1}), run_of("B", {1.5, 2.25, 5, 1}), options);
  const auto& pair = all.pairs.at(0);
  EXPECT_FALSE(pair.binary);
  EXPECT_TRUE(pair.only_a.empty());
  EXPECT_DOUBLE_EQ(pair.difference, 1.5);
  EXPECT_DOUBLE_EQ(pair.p_value, 2.0 / 8);  // differences 1, 2, 3, 0
  EXPECT_LE(pair.interval.low, 1.5);
  EXPECT_GE(pair.interval.high, 1.5);
  EXPECT_GE(pair.interval.low, 0) << "no mean of these differences is below 0";
  ASSERT_TRUE(pair.equivalence);
  EXPECT_LT(pair.equivalence->p_value, 0.05);
  EXPECT_TRUE(pair.settings.empty());
}

TEST(CompareRuns, HolmCoversAllPairsAndLabelsChooseThem) {
  RunScores a = run_of("A", {0, 0, 0, 0, 0, 0, 0, 0});
  const RunScores more = run_of("A", {1, 1, 1, 1, 1, 1, 1, 1}, "sampler=two; num_steps=8"), some = run_of("A", {0, 1, 1, 1, 1, 1, 1, 0}, "sampler=two; num_steps=2");
  a.configs.push_back(more.configs[0]);
  a.configs.push_back(some.configs[0]);
  CompareOptions options;
  options.config_a = {"one"}, options.config_b = {"num_steps=8", "2"};
  const auto all = compare_runs(a, a, options);
  ASSERT_EQ(all.pairs.size(), 2u);
  EXPECT_NEAR(all.pairs[0].p_value, 2.0 / 256, 1e-14);
  EXPECT_NEAR(all.pairs[0].p_holm, 4.0 / 256, 1e-14);
  EXPECT_NEAR(all.pairs[1].p_value, 2.0 / 64, 1e-14);
  EXPECT_NEAR(all.pairs[1].p_holm, 2.0 / 64, 1e-14);
  EXPECT_EQ(all.pairs[1].config_b, 2u);
  options.config_b = {"sampler=two"};
  EXPECT_NE(refusal(a, a, options).find("'sampler=two' fits 2 configurations"), std::string::npos);
  options.config_b = {"three"};
  EXPECT_NE(refusal(a, a, options).find("no configuration's settings contain 'three'"), std::string::npos);
  options.config_b = {"7"};
  EXPECT_NE(refusal(a, a, options).find("there is no configuration 7"), std::string::npos);
  options.config_b.clear();
  EXPECT_NE(refusal(a, a, options).find("give both"), std::string::npos);
  EXPECT_EQ(compare_runs(a, a, {}).pairs.size(), 3u) << "without labels: equal settings";
}

TEST(CompareRuns, OtherDataIsRefusedAndOtherDenoisersAreFlagged) {
  const RunScores a = run_of("A", {0, 1});
  RunScores b = run_of("B", {1, 1, 0});
  b.model_sha256 = "nn";
  const auto all = compare_runs(a, b, {});
  ASSERT_EQ(all.notes.size(), 2u);
  EXPECT_EQ(all.notes[0].find("DIFFERENT DENOISERS"), 0u);
  EXPECT_EQ(all.notes[1], "different items: 0 only in A, 1 only in B; what both have is compared");
  EXPECT_EQ(all.pairs[0].num_items, 2u);
  b.dataset_sha256 = "bb";
  EXPECT_NE(refusal(a, b).find("the runs are on different data"), std::string::npos);
  RunScores c = run_of("C", {0, 1});
  c.score_name = "num_tokens";
  EXPECT_NE(refusal(a, c).find("scored differently"), std::string::npos);
  RunScores d = run_of("D", {0, 1}, "sampler=four");
  d.configs.push_back(d.configs[0]);
  EXPECT_NE(refusal(a, d).find("--config-a and --config-b"), std::string::npos);
}

TEST(CompareRuns, InfiniteScoresGiveNoFalseNumbers) {
  const double inf = std::numeric_limits<double>::infinity();
  const auto same = compare_runs(run_of("A", {inf, 0.5}), run_of("B", {inf, 0.75}), {});
  EXPECT_DOUBLE_EQ(same.pairs[0].difference, 0.125);
  const auto apart = compare_runs(run_of("A", {inf, 0.5}), run_of("B", {1, 0.75}), {});
  EXPECT_TRUE(std::isnan(apart.pairs[0].p_value));
  EXPECT_TRUE(std::isnan(apart.pairs[0].p_holm));
}

}  // namespace
}  // namespace canvaslab
