// Successive halving: how often chance drops anyone, that the best survives, and that a broken-off run decides the same.
#include "eval/halving.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "core/error.h"
#include "core/h5.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// Scores are what the test wants; nothing is generated.
class Graded final : public Dataset {
 public:
  std::vector<Example> load() const override {
    std::vector<Example> out(400);
    for (size_t i = 0; i < out.size(); ++i) out[i].id = "item-" + std::to_string(i), out[i].has_ids = true;
    return out;
  }
  ScoreFacts score_facts() const override { return {.name = "correct", .unit = "fraction", .metrics = {}, .texts = {}, .is_quality = true}; }
  Score score(const Example&, std::span<const int32_t>, const Denoiser&) const override { return {.value = 1, .metrics = {}}; }
  std::string content_hash() const override { return "graded"; }
};
[[maybe_unused]] const bool registered = datasets().add({.name = "graded_for_halving", .summary = "", .source = "ours", .aliases = {}, .parameters = {}, .facts = {},
                                                         .make = [](const Options&) { return std::make_unique<Graded>(); }});

SweepPlan plan_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", text);
  return read_sweep(folder / "plan.toml", overrides);
}

std::string plan_text(const std::string& dataset, const std::string& search, const std::string& grid) {
  return "[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"" + dataset + "\"\n[search]\nkind = \"halving\"\n" + search + "[grid]\nmax_new_tokens = 8\ncanvas_length = 8\n" + grid;
}

constexpr const char* kFour = "sampler = [\"fixed_step\", \"ddim\"]\nsteps = [2, 8]\n";

/// Walks through all stages with samples that `make` fills in.
template <typename Make>
HalvingRecord simulate(const PreparedSweep& sweep, Make make) {
  Halving halving(sweep);
  std::set<Sha256> made;
  std::vector<SampleRecord> samples;
  for (auto tasks = halving.tasks(); !tasks.empty(); tasks = halving.tasks()) {
    for (const auto& task : tasks) {
      if (!made.insert(task.key).second) continue;
      SampleRecord sample;
      sample.config_idx = task.config, sample.item_idx = task.item, sample.repeat = task.repeat, sample.content_key = task.key;
      sample.tokens_per_forward_report = 1;
      make(sample);
      samples.push_back(std::move(sample));
    }
    halving.decide(samples);
  }
  return halving.record();
}

/// The number of successes that a binomial exceeds once in a thousand times.
int rare_count(int trials, double p) {
  double term = std::pow(1 - p, trials), sum = term;
  int k = 0;
  while (sum < 0.999) {
    term *= p / (1 - p) * (trials - k) / (k + 1);
    sum += term;
    ++k;
  }
  return k;
}

TEST(Halving, EqualConfigurationsAreRarelyDroppedOnScores) {
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  constexpr int kTrials = 200;
  constexpr double kAlpha = 0.2;  // large, so that the count says something
  const auto sweep = prepare_sweep(plan_of(plan_text("graded_for_halving", "items = 20\nalpha = 0.2\n", kFour)), nullptr);
  for (const bool binary : {true, false}) {
    int false_drops = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::vector<double> ease(400);  // items differ in how hard they are, the same for everyone
      for (double& e : ease) e = std::uniform_real_distribution(0.1, 0.9)(random);
      const auto record = simulate(sweep, [&](SampleRecord& sample) {
        sample.score = binary ? std::bernoulli_distribution(ease[sample.item_idx])(random) : ease[sample.item_idx] + std::exponential_distribution(3.0)(random);
      });
      bool any = false;
      for (const auto& round : record.rounds) any = any || !round.dropped.empty();
      false_drops += any;
    }
    EXPECT_LE(false_drops, rare_count(kTrials, kAlpha)) << "seed " << seed << (binary ? ", 0/1 scores" : ", real scores");
    RecordProperty(binary ? "false_drops_binary" : "false_drops_real", false_drops);
    std::printf("%d of %d trials dropped an equal configuration (alpha %g, seed %lu)\n", false_drops, kTrials, kAlpha, static_cast<unsigned long>(seed));
  }
}

TEST(Halving, EqualConfigurationsAreRarelyDroppedOnAnExactSource) {
  const uint64_t seed = std::random_device{}();
  constexpr int kTrials = 60;
  constexpr double kAlpha = 0.2;
  const auto sweep = prepare_sweep(plan_of(plan_text("source(items=200)", "items = 25\nrounds = 2\nalpha = 0.2\n", kFour)), nullptr);
  int false_drops = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const auto record = simulate(sweep, [&](SampleRecord& sample) {
      // Every configuration draws from the exact law, each with its own noise.
      sample.token_ids = sweep.denoiser->source()->sample(8, {.seed = seed + static_cast<uint64_t>(trial), .item = sample.item_idx, .repeat = sample.config_idx});
    });
    bool any = false;
    for (const auto& round : record.rounds) any = any || !round.dropped.empty();
    false_drops += any;
  }
  EXPECT_LE(false_drops, rare_count(kTrials, kAlpha)) << "seed " << seed;
  std::printf("%d of %d trials dropped an equal configuration (alpha %g, seed %lu)\n", false_drops, kTrials, kAlpha, static_cast<unsigned long>(seed));
}

TEST(Halving, TheBestSurvivesTheWorstGoesAndTheWinnerIsConfirmed) {
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  const auto sweep = prepare_sweep(plan_of(plan_text("graded_for_halving", "items = 40\n", kFour)), nullptr);
  for (int trial = 0; trial < 20; ++trial) {
    const auto record = simulate(sweep, [&](SampleRecord& sample) { sample.score = std::bernoulli_distribution(sample.config_idx == 2 ? 0.95 : sample.config_idx == 1 ? 0.1 : 0.6)(random); });
    EXPECT_EQ(record.confirmation->winner, 2u) << "seed " << seed;
    EXPECT_TRUE(record.confirmation->confirmed) << "seed " << seed;
    EXPECT_EQ(std::count(record.survivors.begin(), record.survivors.end(), 1u), 0) << "seed " << seed;
    EXPECT_EQ(record.confirmation->num_items, 160);
  }
}

TEST(Halving, AWorseButFasterConfigurationStaysUnlessTold) {
  for (const bool keep : {true, false}) {
    const auto sweep = prepare_sweep(plan_of(plan_text("graded_for_halving", std::string("items = 40\ndrop = \"") + (keep ? "dominated" : "worse") + "\"\n", kFour)), nullptr);
    const auto record = simulate(sweep, [&](SampleRecord& sample) {
      sample.score = sample.config_idx == 3 ? 0 : sample.item_idx % 3 != 0;
      sample.tokens_per_forward_report = sample.config_idx == 3 ? 8 : 4;
    });
    EXPECT_EQ(std::count(record.survivors.begin(), record.survivors.end(), 3u), keep ? 1 : 0);
    EXPECT_EQ(record.survivors.size(), keep ? 4u : 3u);
    EXPECT_FALSE(record.confirmation->confirmed) << "the winner has equals";
  }
}

TEST(Halving, RoundsAreNestedAndTheConfirmationIsUnseen) {
  const auto sweep = prepare_sweep(plan_of(plan_text("graded_for_halving", "items = 20\ngrowth = 1.5\nrounds = 3\nconfirm = 30\n", kFour)), nullptr);
  EXPECT_EQ(sweep.plan.halving->round_items, (std::vector<int64_t>{20, 30, 45}));
  Halving halving(sweep);
  std::vector<SampleRecord> samples;
  std::set<uint32_t> before;
  for (const size_t count : {20u, 30u, 45u}) {
    std::set<uint32_t> items;
    for (const auto& task : halving.tasks()) items.insert(task.item);
    EXPECT_EQ(items.size(), count);
    EXPECT_TRUE(std::includes(items.begin(), items.end(), before.begin(), before.end()));
    before = items;
    halving.decide(samples);  // nothing finished: nothing can be tested, nobody goes
    EXPECT_EQ(halving.record().survivors.size(), 4u);
  }
  std::set<uint32_t> unseen;
  for (const auto& task : halving.tasks()) unseen.insert(task.item);
  EXPECT_EQ(unseen.size(), 30u);
  for (const uint32_t item : unseen) EXPECT_FALSE(before.contains(item));
}

TEST(Halving, AlphaIsSpentOverRoundsAndOrderedPairs) {
  HalvingPlan plan;
  plan.round_items = {8, 16, 32}, plan.alpha = 0.06;
  EXPECT_DOUBLE_EQ(halving_level(plan, 5) * 3 * 20, 0.06);
}

TEST(PairedTests, EqualClosedForms) {
  const std::vector<double> three = {1, 2, 3};  // t = 2 sqrt(3), two degrees of freedom: P(T > t) = 1/2 - t / (2 sqrt(2 + t^2))
  EXPECT_NEAR(test_above(three).p_value, 0.5 - std::sqrt(12.0) / (2 * std::sqrt(14.0)), 1e-12);
  const std::vector<double> less = {-1, -2, -3};
  EXPECT_NEAR(test_above(less).p_value, 0.5 + std::sqrt(12.0) / (2 * std::sqrt(14.0)), 1e-12);
  const std::vector<double> same(10, 0.25), none(10, 0.0), infinite = {1, INFINITY};
  EXPECT_NEAR(test_above(same).p_value, std::exp2(-10), 1e-15);  // no spread: ten heads
  EXPECT_EQ(test_above(none).p_value, 1);
  EXPECT_EQ(test_above(infinite).p_value, 1);
}

constexpr const char* kRun = "items = 20\nrounds = 2\ndrop = \"worse\"\n";
constexpr const char* kRunGrid = "sampler = [\"fixed_step\", \"ddim\", \"entropy_bound(5)\"]\nsteps = [1, 8]\ntemperature = 1\n";

TEST(Halving, ABrokenOffRunComesToTheSameDecisions) {
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  const TemporaryFolder folder;
  const auto sweep = prepare_sweep(plan_of(plan_text("source(items=80)", kRun, kRunGrid), {"denoiser.model=hmm(states=4, alphabet=5, sharpness=6)"}), nullptr);
  SweepOptions options;
  options.threads = 2, options.out_dir = folder / "whole";
  const auto whole = run_sweep(sweep, options);
  ASSERT_FALSE(whole.interrupted);
  options.out_dir = folder / "broken";
  int starts = 0;
  for (bool interrupted = true; interrupted; ++starts) {
    std::atomic<int> interrupt{0};
    int left = std::uniform_int_distribution(1, 60)(random);
    options.interrupt = &interrupt, options.threads = 1 + starts % 3;
    options.on_progress = [&](const ProgressMeter&) { interrupt = --left <= 0; };
    interrupted = run_sweep(sweep, options).interrupted;
  }
  EXPECT_GT(starts, 2) << "seed " << seed;
  EXPECT_EQ(h5_difference(whole.results_path, folder / "broken/run.h5"), "") << "seed " << seed;
  const H5Reader file(whole.results_path);
  const auto fate = file.read<int32_t>("search/candidate_dropped_in_round");
  EXPECT_EQ(fate.size(), 6u);
  EXPECT_GT(std::count_if(fate.begin(), fate.end(), [](int32_t round) { return round >= 0; }), 0) << "someone must go, or the test shows nothing";
  EXPECT_EQ(file.read<double>("search/test_p_worse").size(), file.read<uint8_t>("search/test_drops").size());
  EXPECT_EQ(file.text_attribute("search", "plan"), "rounds 20 40 confirm 40 alpha 0.05 drop worse seed 1");
  // Another alpha is another plan.
  const auto other = prepare_sweep(plan_of(plan_text("source(items=80)", std::string(kRun) + "alpha = 0.01\n", kRunGrid), {"denoiser.model=hmm(states=4, alphabet=5, sharpness=6)"}), nullptr);
  options.on_progress = nullptr, options.interrupt = nullptr;
  EXPECT_THROW(run_sweep(other, options), UserError);
}

std::string refusal(const std::string& text) {
  try {
    prepare_sweep(plan_of(text), nullptr);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(Halving, WhatCannotBeTestedIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", "{\"prompt_ids\": [1]}\n{\"prompt_ids\": [2]}\n");
  EXPECT_NE(refusal(plan_text("prompts(path='" + (folder / "prompts.jsonl") + "')", "items = 8\n", kFour)).find("successive halving needs 64 items"), std::string::npos);
  std::string many;
  for (int i = 0; i < 80; ++i) many += "{\"prompt_ids\": [1]}\n";
  write_file(folder / "many.jsonl", many);
  const std::string lengths = refusal(plan_text("prompts(path='" + (folder / "many.jsonl") + "')", "items = 8\n", kFour));
  EXPECT_NE(lengths.find("has no quality to judge by: its score is num_tokens"), std::string::npos) << lengths;
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 200\n", kFour)).find("needs 1600 items (800 in the last round, 800 unseen ones"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 20\n", "sampler = \"ddim\"\n")).find("at least two candidates"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 20\ngrowth = 1\n", kFour)).find("'growth' is 1"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 20\nalpha = 0.7\n", kFour)).find("'alpha' is 0.7"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 20\ndrop = \"wurst\"\n", kFour)).find("did you mean 'worse'?"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "", kFour)).find("halving needs 'items'"), std::string::npos);
  EXPECT_NE(refusal(plan_text("graded_for_halving", "items = 20\nsteps = 3\n", kFour)).find("'steps' without 'budget'"), std::string::npos);
  const auto sweep = prepare_sweep(plan_of(plan_text("graded_for_halving", "items = 20\n", kFour)), nullptr);
  SweepOptions options;
  options.out_dir = folder / "run", options.num_shards = 2;
  EXPECT_THROW(run_sweep(sweep, options), UserError);
}

}  // namespace
}  // namespace canvaslab
