// Recipes: every entry is a sweep that can be read; verdicts follow from the items.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "core/h5.h"
#include "eval/dataset.h"
#include "eval/recipe_verdict.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> recipe_names() {
  std::vector<std::string> out;
  for (const auto& entry : recipes().entries()) out.push_back(entry.name);
  return out;
}

class EveryRecipe : public ::testing::TestWithParam<std::string> {
 protected:
  const Recipe& recipe_ = recipes().find(GetParam()).facts;
};

TEST_P(EveryRecipe, IsASweepWithThePublishedSettings) {
  const TemporaryFolder folder;
  for (size_t part = 0; part < recipe_.parts.size(); ++part) {
    write_file(folder / "recipe.toml", recipe_toml(GetParam(), {.model = "uniform(alphabet=4)", .dtype = "f32"}, part));
    const SweepPlan plan = read_sweep(folder / "recipe.toml", {});
    EXPECT_EQ(plan.thinking, recipe_.thinking);
    EXPECT_EQ(plan.repeats, recipe_.repeats);
    EXPECT_FALSE(plan.subset.has_value());
    std::set<int32_t> limits, published;
    for (const auto& config : plan.configs) limits.insert(config.request.num_steps.value_or(0));
    for (const auto& figure : recipe_.published)
      if (figure.steps) published.insert(*figure.steps);
    EXPECT_EQ(plan.configs.size(), published.empty() ? 1 : published.size());
    if (!published.empty()) {
      EXPECT_EQ(limits, published);
    }
  }
}

TEST_P(EveryRecipe, SaysWhatWasMeasuredAndWhatToCompareItWith) {
  ASSERT_FALSE(recipe_.published.empty());
  for (const auto& figure : recipe_.published) {
    EXPECT_GT(figure.value, 0);
    EXPECT_GT(figure.margin, 0);
    if (figure.quantity == Quantity::kAccuracy) {
      EXPECT_LE(figure.value, 100);
    }
  }
  EXPECT_FALSE(recipe_.benchmark.empty());
  EXPECT_FALSE(recipe_.unknown.empty()) << "no publication gives everything";
  EXPECT_GT(recipe_.predicted_forwards(), 0);
  for (const auto& part : recipe_.parts) {
    const auto& known = datasets().find(parse_plugin(part.dataset).name).facts.files.known;
    const bool counted = known.empty() || std::any_of(known.begin(), known.end(), [&](const KnownFile& file) { return file.num_rows == part.num_items; });
    EXPECT_TRUE(counted) << part.dataset << ": " << part.num_items << " items are in no published file";
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryRecipe, ::testing::ValuesIn(recipe_names()), [](const auto& test) { return test.param; });

TEST(Recipes, HoldEveryBenchmarkAndMode) {
  for (const char* benchmark : {"mmlu_pro", "gpqa", "live_code_bench", "aime_2026"})
    for (const char* mode : {"thinking", "no_thinking", "ar_thinking", "ar_no_thinking", "fixed_48"}) EXPECT_TRUE(recipes().contains(fmt::format("{}_{}", benchmark, mode))) << benchmark << " " << mode;
  EXPECT_THROW(recipes().find("gpqa_thinkin"), UserError);
  for (const auto& row : not_expressed()) EXPECT_FALSE(row.why.empty()) << row.what;
}

TEST(Recipes, LookForTheFilesUnderTheirPublishedAndTheirConvertedNames) {
  const TemporaryFolder folder;
  const RecipePart& part = recipes().find("gpqa_thinking").facts.parts[0];
  const RecipeRun run{.data = folder.path()};
  try {
    recipe_dataset(part, run);
    FAIL() << "an empty folder was taken";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("gpqa_diamond.csv, gpqa_diamond.jsonl"), HasSubstr("accept its terms"), HasSubstr("gated")));
  }
  write_file(folder / "gpqa_diamond.jsonl", "x");
  EXPECT_THAT(recipe_dataset(part, run), HasSubstr("gpqa_diamond.jsonl"));
  write_file(folder / "gpqa_diamond.csv", "x");
  EXPECT_THAT(recipe_dataset(part, run), HasSubstr("gpqa_diamond.csv")) << "the published file comes first";
  EXPECT_THAT(recipe_dataset(part, {.data = folder / "gpqa_diamond.jsonl"}), HasSubstr("jsonl")) << "the file itself will do";
  EXPECT_THAT(recipe_toml("gpqa_thinking", {.data = folder.path(), .limit = 20}, 0), HasSubstr("\nsubset = 20\n"));
  EXPECT_EQ(recipe_toml("gpqa_thinking", {.data = folder.path(), .limit = 198}, 0).find("subset"), std::string::npos) << "all of them is no subset";
}

/// `right` of `count` items right.
std::vector<double> items(int right, int count) {
  std::vector<double> out(static_cast<size_t>(count), 0.0);
  std::fill(out.begin(), out.begin() + right, 1.0);
  return out;
}

TEST(RecipeVerdicts, FollowTheNinetyPercentIntervalAndTheMargin) {
  const Published figure{.value = 70, .margin = 5};
  const auto verdict = [&](const std::vector<double>& values) { return compare_with_published({values}, figure, true).verdict; };
  EXPECT_EQ(verdict(items(1400, 2000)), Verdict::kReproduced) << "half width 1.7 points";
  EXPECT_EQ(verdict(items(140, 200)), Verdict::kUndecided) << "half width 5.3 points: the same share says too little";
  EXPECT_EQ(verdict(items(1320, 2000)), Verdict::kUndecided) << "66% +- 1.7 straddles 65%";
  EXPECT_EQ(verdict(items(1200, 2000)), Verdict::kNotReproduced);
  EXPECT_EQ(verdict(items(1600, 2000)), Verdict::kNotReproduced) << "better is not the same either";
  EXPECT_EQ(verdict(items(1, 1)), Verdict::kUndecided);
  EXPECT_EQ(compare_with_published({items(5, 5)}, {.value = 99, .margin = 5}, true).verdict, Verdict::kUndecided) << "five of five right is no proof of 99%";
}

TEST(RecipeVerdicts, SharesHaveWilsonsIntervalInPercent) {
  const auto got = compare_with_published({items(145, 198)}, {.value = 73.2, .margin = 5}, true);
  EXPECT_NEAR(got.measured, 73.23, 0.005);
  EXPECT_NEAR(got.interval95.low, 66.7, 0.05) << "as published beside the figure";
  EXPECT_NEAR(got.interval95.high, 78.9, 0.05);
  EXPECT_TRUE(got.inside95);
  EXPECT_FALSE(compare_with_published({items(145, 198)}, {.value = 80, .margin = 5}, true).inside95);
}

TEST(RecipeVerdicts, OtherFiguresHaveStudentsT) {
  const auto got = compare_with_published({{10, 12, 14}}, {.quantity = Quantity::kEffectiveSteps, .value = 12, .margin = 4}, false);
  // Standard error 2 / sqrt(3); t(0.95; 2) = 2.919986.
  EXPECT_NEAR(got.difference90.high, 2.919986 * 2 / std::sqrt(3.0), 1e-5);
  EXPECT_NEAR(got.difference90.low, -got.difference90.high, 1e-12);
  EXPECT_EQ(got.verdict, Verdict::kReproduced);
  EXPECT_EQ(compare_with_published({{10, 12, 14}}, {.quantity = Quantity::kEffectiveSteps, .value = 12, .margin = 3}, false).verdict, Verdict::kUndecided);
}

TEST(RecipeVerdicts, PartsCountAlikeAndTheirErrorsAddInSquares) {
  const Published figure{.value = 50, .margin = 5};
  const auto one = compare_with_published({items(50, 100)}, figure, true), two = compare_with_published({items(50, 100), items(50, 100)}, figure, true);
  EXPECT_NEAR(two.difference90.high * std::sqrt(2.0), one.difference90.high, 1e-9);
  EXPECT_EQ(two.num_items, 200);
  EXPECT_NEAR(compare_with_published({items(10, 100), items(90, 1000)}, figure, true).measured, 9.5, 1e-9) << "a mean of parts, whatever their sizes";
}

/// A run whose scores are those of exact text; what is tested is which of them go into which figure.
std::string small_run(const TemporaryFolder& folder, const std::string& name, const std::string& steps) {
  write_file(folder / (name + ".toml"), "[denoiser]\nmodel = \"hmm(states=3, alphabet=4, seed=" + std::string(name == "a" ? "1" : "2") + ")\"\n[dataset]\nname = \"source(items=6)\"\n[grid]\nsampler = \"ddim\"\nsteps = " + steps +
                                              "\ncanvas_length = 4\nmax_new_tokens = 8\n");
  const auto sweep = prepare_sweep(read_sweep(folder / (name + ".toml"), {}), nullptr);
  SweepOptions options;
  options.out_dir = folder / name, options.threads = 1;
  return run_sweep(sweep, options).results_path;
}

TEST(RecipeVerdicts, EachFigureFindsItsStepsInEveryPart) {
  const TemporaryFolder folder;
  const std::string all = "[8, 16, 32, 48, 64, 128, 256]", a = small_run(folder, "a", all), b = small_run(folder, "b", all), few = small_run(folder, "c", "[8, 16]");
  const RecipeReport report = judge_recipe("steps_curve_thinking", {a, b}, {"a note"});
  ASSERT_EQ(report.figures.size(), 7u);
  const H5Reader of_a(a), of_b(b);
  const auto steps = of_a.read<int32_t>("config/num_steps");
  const auto mean_a = of_a.read<double>("aggregates/score_mean"), mean_b = of_b.read<double>("aggregates/score_mean");
  for (const auto& figure : report.figures) {
    const auto at = static_cast<size_t>(std::find(steps.begin(), steps.end(), *figure.published.steps) - steps.begin());
    EXPECT_NEAR(figure.measured, 100 * (mean_a[at] + mean_b[at]) / 2, 1e-9) << *figure.published.steps;
    EXPECT_EQ(figure.num_items, 12);
  }
  EXPECT_NE(report.figures[0].measured, report.figures[6].measured) << "step limits must differ, or nothing was tested";
  EXPECT_THAT(report.differences, ::testing::Contains("a note"));
  EXPECT_THAT(recipe_text(report), HasSubstr("accuracy at 128 steps"));
  EXPECT_THROW(judge_recipe("steps_curve_thinking", {a, few}, {}), UserError);
  EXPECT_THROW(judge_recipe("steps_curve_thinking", {a}, {}), UserError);
}

}  // namespace
}  // namespace canvaslab
