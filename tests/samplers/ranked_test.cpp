// Samplers that rank positions and take a prefix: quota, factor, frechet, med, entropy_bound_locked, and origin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "samplers/rules.h"
#include "schedules/random_count.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;
using testing_support::taken;
using testing_support::with_confidences;

/// Positions taken at step 0 of 9 by a fresh canvas.
std::vector<size_t> first(const std::string& sampler, const Step& step) {
  CanvasState state;
  return taken(decide(sampler_of(sampler), step, state, 0, 9));
}

const std::vector<double> kVector = {.99, .97, .96, .9, .85, .6};  // samplers.md 9

TEST(Factor, GoldenCounts) {
  EXPECT_EQ(first("factor(1)", with_confidences(kVector)).size(), 5u);
  EXPECT_EQ(first("factor(0.75)", with_confidences(kVector)).size(), 4u);
}

TEST(Factor, CutOffsAreOneMinusFactorOverNPlusOne) {  // factor 1: .5, .667, .75, .8; the first one is forced anyway
  for (double f : {1.0, 0.75})
    for (size_t n = 2; n <= 6; ++n) {
      const double cut = 1 - f / static_cast<double>(n + 1);
      EXPECT_EQ(first(fmt::format("factor({})", f), with_confidences(std::vector<double>(n, cut + 1e-4))).size(), n) << f << " " << n;
      // Just below the cut-off of n equal confidences the cut-off of fewer may still hold.
      EXPECT_LT(first(fmt::format("factor({})", f), with_confidences(std::vector<double>(n, cut - 1e-4))).size(), n) << f << " " << n;
    }
}

TEST(Factor, IsStrictAndForcesTheFirst) {
  EXPECT_EQ(first("factor(1.5)", with_confidences({.5, .5})).size(), 1u) << "3 * .5 = 1.5 is not below 1.5";
  EXPECT_EQ(first("factor(1.500001)", with_confidences({.5, .5})).size(), 2u);
  EXPECT_EQ(first("factor(0)", with_confidences({.2, .9})), (std::vector<size_t>{1}));
}

TEST(Frechet, GoldenCountAndEqualConfidencesAreFactor) {
  EXPECT_EQ(first("frechet(0.25)", with_confidences(kVector)).size(), 5u);
  for (double c : {.55, .7, .8, .9, .95, .99})
    for (double delta : {0.0, 0.1, 0.25, 0.5})
      EXPECT_EQ(first(fmt::format("frechet({})", delta), with_confidences(std::vector<double>(20, c))),
                first(fmt::format("factor({})", 1 - delta), with_confidences(std::vector<double>(20, c))))
          << c << " " << delta;
}

TEST(RankedSamplers, TakeNestedSetsAsTheirKnobGrows) {
  std::mt19937 engine(5);
  const std::vector<std::vector<std::string>> growing = {
      {"factor(0.1)", "factor(0.5)", "factor(1)", "factor(3)", "factor(100)"},
      {"frechet(0.9)", "frechet(0.5)", "frechet(0.25)", "frechet(0)"},
      {"med(0)", "med(0.02)", "med(0.1)", "med(0.19)", "med(1)"},
      {"entropy_bound_locked(0)", "entropy_bound_locked(0.1)", "entropy_bound_locked(1)", "entropy_bound_locked(inf)"},
      {"confidence_threshold(1)", "confidence_threshold(0.9)", "confidence_threshold(0.2)"}};
  for (int trial = 0; trial < 50; ++trial) {
    const Step step(1 + engine() % 60, engine);
    for (const auto& samplers : growing)
      for (const char* mode : {"locked", "memoryless"}) {
        std::vector<size_t> before;
        for (const auto& text : samplers) {
          const bool has_mode = !text.starts_with("entropy_bound_locked");
          const auto now = first(has_mode ? text.substr(0, text.size() - 1) + ", mode=" + mode + ")" : text, step);
          EXPECT_TRUE(std::includes(now.begin(), now.end(), before.begin(), before.end())) << text << " seed 5 trial " << trial;
          before = now;
        }
      }
  }
}

TEST(Med, IsStrictAndForcesTheLeastUncertain) {
  Step step(4);
  step.statistics.entropy_nats = {0.3f, 0.1f, 0.09f, 0.2f};
  EXPECT_THAT(first("med(0.2)", step), ElementsAre(1, 2)) << "0.2 itself is not below 0.2";
  EXPECT_THAT(first("med(0.01)", step), ElementsAre(2));
}

TEST(EntropyBoundLocked, IsEntropyBoundOverTheOpenPositions) {
  std::mt19937 engine(11);
  for (int trial = 0; trial < 100; ++trial) {
    const Step step(1 + engine() % 60, engine);
    for (const char* bound : {"0.05", "0.3", "2"})
      EXPECT_EQ(first(fmt::format("entropy_bound_locked({})", bound), step), first(fmt::format("entropy_bound({})", bound), step))
          << "seed 11 trial " << trial;
  }
  Step golden(6);
  golden.statistics.entropy_nats = {.5f, .02f, .09f, 0, .06f, .03f};
  EXPECT_THAT(first("entropy_bound_locked(0.1)", golden), ElementsAre(1, 3, 4, 5));
  golden.statistics.candidate_logprob = {-.1f, -.6f, -.2f, -.7f, -.8f, -.9f};
  EXPECT_THAT(first("entropy_bound_locked(0.1, score=confidence)", golden), ElementsAre(0, 2)) << "the order is the proxy's: 0, 2, then 1";
}

// --- quotas

TEST(CountBudgets, SumToTheLengthAndNeverFall) {
  const std::vector<CountBudget> all = {CountBudget::kEven, CountBudget::kCumulative, CountBudget::kRatio,
                                        CountBudget::kCosine, CountBudget::kSquare, CountBudget::kRoot};
  for (CountBudget budget : all)
    for (size_t length = 0; length <= 64; ++length)
      for (int32_t n = 1; n <= 64; ++n) {
        size_t before = 0;
        for (int32_t i = 0; i < n; ++i) {
          const size_t target = count_target(budget, length, i, n);
          ASSERT_GE(target, before) << "L " << length << " N " << n << " step " << i << " budget " << static_cast<int>(budget);
          ASSERT_LE(target, length);
          before = target;
        }
        ASSERT_EQ(before, length);
        ASSERT_EQ(count_target(budget, length, n + 5, n), length) << "beyond the last step";
      }
}

TEST(CountBudgets, GoldenTargets) {
  const std::vector<size_t> ceil = {6, 11, 16, 22, 27, 32, 38, 43, 48};  // samplers.md 5.3: 256 positions, 48 steps
  for (int32_t i = 0; i < 9; ++i) EXPECT_EQ(count_target(CountBudget::kCumulative, 256, i, 48), ceil[static_cast<size_t>(i)]);
  EXPECT_EQ(count_target(CountBudget::kCumulative, 256, 46, 48), 251u);
  EXPECT_EQ(count_target(CountBudget::kCosine, 100, 4, 10), 29u) << "1 - cos(pi / 4) = .2929";
  EXPECT_EQ(count_target(CountBudget::kSquare, 100, 4, 10), 25u);
  EXPECT_EQ(count_target(CountBudget::kRoot, 100, 3, 16), 50u);
  EXPECT_EQ(count_target(CountBudget::kRatio, 10, 0, 4), 2u) << "floor(10 * .24975)";
}

TEST(RandomCounts, GiveEachPositionTheBudgetsShare) {
  for (int32_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(due_probability(CountBudget::kEven, i, 7), 1.0 / (7 - i), 1e-5) << "shares are accurate to 1e-6, and at least 1/7 is left";
    EXPECT_NEAR(due_share(CountBudget::kSquare, i, 7), (i + 1) * (i + 1) / 49.0, 1e-6);
  }
  for (CountBudget budget : {CountBudget::kEven, CountBudget::kCumulative, CountBudget::kRatio, CountBudget::kCosine, CountBudget::kSquare, CountBudget::kRoot}) {
    double open = 1;
    for (int32_t i = 0; i < 5; ++i) {
      const double due = due_probability(budget, i, 5);
      EXPECT_TRUE(due >= 0 && due <= 1);
      open *= 1 - due;
      EXPECT_NEAR(1 - open, due_share(budget, i, 5), 1e-9) << "chances multiply to shares, budget " << static_cast<int>(budget) << " step " << i;
    }
    EXPECT_EQ(due_probability(budget, 4, 5), 1);
    EXPECT_EQ(due_probability(budget, 9, 5), 1) << "beyond the last step";
  }
}

TEST(Quota, TakesTheBestByEachScore) {
  Step step(4);
  auto& s = step.statistics;
  s.candidate_logprob = {-1, -2, -3, -4};
  s.entropy_nats = {.4f, .1f, .3f, .2f};
  s.argmax_logprob = {std::log(.5f), std::log(.6f), std::log(.7f), std::log(.8f)};
  s.second_logprob = {std::log(.1f), std::log(.4f), std::log(.25f), std::log(.2f)};  // margins .4, .2, .45, .6
  s.argmax_logprob_t1 = {-9, -9, -9, -.1f};
  const auto best = [&](const std::string& options) { return first("quota(" + options + ")", step); };  // ceil(4 / 9) = 1
  EXPECT_THAT(best("confidence"), ElementsAre(0));
  EXPECT_THAT(best("entropy"), ElementsAre(1));
  EXPECT_THAT(best("margin"), ElementsAre(3));
  EXPECT_THAT(best("probability"), ElementsAre(3));
}

TEST(Quota, ProbabilityAtTemperatureOneIsThatOfTheLogits) {
  // One row of logits at T = 0.5, its candidate not the argmax: ln p_1(y) worked out from the tempered statistics.
  const std::vector<float> logits = {1.5f, 0.25f, -0.75f};
  std::vector<int32_t> canvas = {0};
  RowStatistics s;
  s.resize(1, StatisticSet::all());
  compute_row_statistics(logits, 3, 0, 1, {.temperature = 0.5f, .wanted = StatisticSet::all(), .canvas = canvas, .draw_key = std::nullopt}, s);
  s.candidate[0] = 2;
  double z = 0, z_half = 0;
  for (float l : logits) z += std::exp(l), z_half += std::exp(2 * l);
  s.candidate_logprob[0] = static_cast<float>(2 * logits[2] - std::log(z_half));
  StepView view{.temperature = 0.5f, .vocabulary = 3, .canvas = canvas, .statistics = &s, .allowed = {}, .knobs = {}};
  EXPECT_NEAR(scores(view, Score::kProbability)[0], logits[2] - std::log(z), 1e-5) << "f32 statistics";
}

TEST(Quota, KeepsToItsTargetsInBothModesAndTakesAllAtTheEnd) {
  std::mt19937 engine(2);
  const std::vector<std::string> budgets = {"even", "cumulative", "ratio", "cosine", "square", "root"};
  for (size_t b = 0; b < budgets.size(); ++b)
    for (const char* score : {"confidence", "entropy", "margin", "probability", "random"})
      for (const std::string mode : {"locked", "memoryless"}) {
        const auto sampler = sampler_of(fmt::format("quota({}, {}, {})", score, budgets[b], mode));
        const Step step(23, engine);
        CanvasState state;
        for (int32_t i = 0; i < 6; ++i) {
          const size_t now = taken(decide(sampler, step, state, i, 6)).size();
          const size_t target = count_target(static_cast<CountBudget>(b), num_allowed(step.view(i, 6)), i, 6);
          EXPECT_EQ(mode == "locked" ? state.num_revealed() : now, target) << sampler.canonical << " step " << i << " seed 2";
        }
      }
}

/// Chi-square of counts against Binomial(n, p), and its degrees of freedom; cells that expect fewer than 5 are joined to their neighbour.
std::pair<double, int> against_binomial(const std::vector<double>& count, int n, double p) {
  double draws = 0, expected = 0, got = 0, chi_square = 0;
  for (const double c : count) draws += c;
  int cells = 0;
  double left = draws;
  for (int k = 0; k <= n; ++k) {
    const double cell = draws * std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(p) + (n - k) * std::log1p(-p));
    expected += cell, got += count[static_cast<size_t>(k)], left -= cell;
    if (expected < 5 || (left < 5 && k < n)) continue;
    chi_square += (got - expected) * (got - expected) / expected;
    expected = got = 0;
    ++cells;
  }
  return {chi_square, cells - 1};
}
/// Mean plus four standard deviations of a chi-square: p is about 1e-3 or below at the degrees of freedom used here.
double far_out(int degrees) { return degrees + 4 * std::sqrt(2.0 * degrees); }

TEST(Quota, BinomialCountHasTheBinomialLaw) {
  constexpr int kLength = 9, kDraws = 6000;
  constexpr int32_t kSteps = 4;
  for (const char* mode : {"locked", "memoryless"}) {
    const auto sampler = sampler_of(fmt::format("quota(count=binomial, mode={})", mode));
    EXPECT_FALSE(sampler.facts.product_law) << "a position's fate hangs on the coins of all";
    std::vector<std::vector<double>> held(kSteps, std::vector<double>(kLength + 1, 0.0));
    for (int draw = 0; draw < kDraws; ++draw) {
      Step step = with_confidences({.1, .9, .2, .8, .3, .7, .4, .6, .5});
      CanvasState state;
      for (int32_t i = 0; i < kSteps; ++i) {
        step.draws = {.seed = 12, .item = static_cast<uint64_t>(draw), .step_idx = static_cast<uint32_t>(i)};
        const auto now = taken(decide(sampler, step, state, i, kSteps));
        if (i == 0 && now.size() == 2) {
          EXPECT_THAT(now, ElementsAre(1, 3)) << "by chance is how many, not which";
        }
        ++held[static_cast<size_t>(i)][std::string(mode) == "locked" ? state.num_revealed() : now.size()];
      }
    }
    for (int32_t i = 0; i + 1 < kSteps; ++i) {
      const auto [chi_square, degrees] = against_binomial(held[static_cast<size_t>(i)], kLength, (i + 1.0) / kSteps);
      EXPECT_LT(chi_square, far_out(degrees)) << mode << " after step " << i << ", seed 12";
      EXPECT_GT(against_binomial(held[static_cast<size_t>(i)], kLength, (i + 1.3) / kSteps).first, far_out(degrees)) << "another law shows";
    }
    EXPECT_EQ(held[kSteps - 1][kLength], kDraws) << "the last step takes all";
  }
}

TEST(Quota, BinomialStepsAreBinomialInWhatIsOpen) {  // given m open: Binomial(m, 1 / (N - i))
  constexpr int32_t kSteps = 4;
  const auto sampler = sampler_of("quota(count=binomial)");
  std::vector<double> count(7, 0.0);
  for (int draw = 0; count[0] + count[1] + count[2] < 3000; ++draw) {
    Step step = with_confidences({.1, .9, .2, .8, .3, .7, .4, .6, .5});
    CanvasState state;
    step.draws = {.seed = 13, .item = static_cast<uint64_t>(draw)};
    decide(sampler, step, state, 0, kSteps);
    if (state.num_revealed() != 3) continue;  // six are open
    step.draws.step_idx = 1;
    ++count[taken(decide(sampler, step, state, 1, kSteps)).size()];
  }
  const auto [chi_square, degrees] = against_binomial(count, 6, 1.0 / 3);
  EXPECT_LT(chi_square, far_out(degrees)) << "seed 13";
}

TEST(Quota, MemorylessRanksEverythingAnew) {
  const auto sampler = sampler_of("quota(mode=memoryless)");
  CanvasState state;
  EXPECT_THAT(taken(decide(sampler, with_confidences({.9, .8, .1, .2}), state, 0, 4)), ElementsAre(0));
  EXPECT_THAT(taken(decide(sampler, with_confidences({.1, .8, .9, .2}), state, 1, 4)), ElementsAre(1, 2)) << "position 0 is dropped again";
  EXPECT_EQ(state.num_revealed(), 0u);
}

TEST(Quota, ChoiceTemperatureDrawsFromTheSoftmaxWithoutReplacement) {
  // One of three positions with scores ln .6, ln .3, ln .1: at choice temperature 1 each is taken with its probability.
  Step step = with_confidences({.6, .3, .1});
  const auto sampler = sampler_of("quota(choice_temperature=1)");
  std::vector<double> count(3, 0.0);
  constexpr int kDraws = 20000;
  for (int draw = 0; draw < kDraws; ++draw) {
    step.draws = {.seed = 4, .item = static_cast<uint64_t>(draw)};
    CanvasState state;
    const auto now = taken(decide(sampler, step, state, 0, 3));
    ASSERT_EQ(now.size(), 1u);
    ++count[now[0]];
  }
  double chi_square = 0;
  const double expected[3] = {.6, .3, .1};
  for (size_t p = 0; p < 3; ++p) chi_square += std::pow(count[p] - kDraws * expected[p], 2) / (kDraws * expected[p]);
  EXPECT_LT(chi_square, 13.8) << "2 degrees of freedom, p = 0.001; seed 4";
  std::mt19937 engine(9);
  for (int trial = 0; trial < 20; ++trial) {
    const Step random(30, engine);
    EXPECT_EQ(first("quota(choice_temperature=1e-6)", random), first("quota", random)) << "towards 0 it is the deterministic rule; seed 9";
  }
}

TEST(Quota, RandomOrderIsUniform) {
  Step step = with_confidences({.9, .5, .1, .2});
  const auto sampler = sampler_of("quota(random)");
  std::map<std::vector<size_t>, double> count;
  constexpr int kDraws = 12000;
  for (int draw = 0; draw < kDraws; ++draw) {
    step.draws = {.seed = 6, .item = static_cast<uint64_t>(draw)};
    CanvasState state;
    ++count[taken(decide(sampler, step, state, 0, 2))];
  }
  ASSERT_EQ(count.size(), 6u) << "all pairs of four positions";
  double chi_square = 0;
  for (const auto& [pair, n] : count) chi_square += std::pow(n - kDraws / 6.0, 2) / (kDraws / 6.0);
  EXPECT_LT(chi_square, 20.5) << "5 degrees of freedom, p = 0.001; seed 6";
}

TEST(Origin, RevealStepIsUniformOverTheSteps) {
  Step step(1);
  const auto sampler = sampler_of("origin");
  std::vector<double> count(5, 0.0);
  constexpr int kDraws = 10000;
  for (int draw = 0; draw < kDraws; ++draw) {
    CanvasState state;
    for (int32_t i = 0; i < 5; ++i) {
      step.draws = {.seed = 8, .item = static_cast<uint64_t>(draw), .step_idx = static_cast<uint32_t>(i)};
      if (!taken(decide(sampler, step, state, i, 5)).empty()) ++count[static_cast<size_t>(i)];
    }
    ASSERT_EQ(state.num_revealed(), 1u);
  }
  double chi_square = 0;
  for (double n : count) chi_square += std::pow(n - kDraws / 5.0, 2) / (kDraws / 5.0);
  EXPECT_LT(chi_square, 18.5) << "4 degrees of freedom, p = 0.001; seed 8";
}

TEST(Facts, FollowTheParameters) {
  EXPECT_TRUE(sampler_of("quota").facts.locks);
  EXPECT_FALSE(sampler_of("quota").facts.product_law);
  const auto memoryless = sampler_of("quota(entropy, mode=memoryless)").facts;
  EXPECT_TRUE(memoryless.product_law && memoryless.revocable && !memoryless.locks);
  EXPECT_EQ(memoryless.default_stop, "never");
  EXPECT_FALSE(sampler_of("quota(entropy, mode=memoryless, choice_temperature=1)").facts.product_law);
  EXPECT_FALSE(sampler_of("quota(entropy)").facts.statistics.has(Statistic::kTop2));
  EXPECT_TRUE(sampler_of("quota(margin)").facts.statistics.has(Statistic::kTop2));
  EXPECT_EQ(sampler_of("factor(mode=memoryless)").facts.default_stop, "stable_and_confident");
  EXPECT_EQ(sampler_of("factor").facts.default_stop, "all_revealed");
}

}  // namespace
}  // namespace canvaslab
