// The table of samplers: rows from labels, the choice at each budget, the chosen settings as a sweep file, the whole way
// through two small runs.
#include "eval/sampler_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kPlan = R"toml([run]
name = "small"
seed = 5
[denoiser]
model = "hmm(states=3, alphabet=5, length=6)"
[dataset]
name = "source(items=25)"
[[grid]]
label = "bound"
sampler = ["entropy_bound(0.1)", "entropy_bound(2)"]
temperature = ["constant(1)", "linear_remaining(t_min=0.4, t_max=0.8)"]
steps = [2, 4]
[[grid]]
label = "bound"
sampler = "entropy_bound(1)"
stop = "never"
steps = 4
[[grid]]
sampler = "fixed_plan(plan=\"0 2 4 / 1 3 5\")"
steps = 2
)toml";

SweepPlan plan_of(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", text);
  return read_sweep(folder / "plan.toml", {});
}

TEST(SamplerTable, LabelsMakeRowsAndStepLimitsBudgets) {
  const SweepPlan plan = plan_of(kPlan);
  const auto denoiser = denoisers().make(plan.denoiser);
  const auto rows = table_rows(plan, *denoiser);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].label, "bound");
  EXPECT_EQ(rows[0].settings.size(), 2u * 2 * 2 + 1);
  EXPECT_EQ(rows[1].label, "fixed_plan") << "without a label: the sampler's name";
  EXPECT_TRUE(rows[1].facts.locks);
  EXPECT_THAT(table_budgets(rows), ElementsAre(2, 4));
}

TEST(SamplerTable, ChoosesTheLeastDivergenceWithinTheBudget) {
  const std::vector<TableRow> rows = {{.label = "a", .settings = {"x; num_steps=2", "y; num_steps=4", "z; num_steps=4"}, .facts = {}}};
  const auto measured = [](double quality, double denoise, double verify) {
    Measured out;
    out.quality = quality, out.denoise = denoise, out.verify = verify, out.count = 1;
    return out;
  };
  std::map<std::string, Measured> run = {{"x; num_steps=2", measured(0.3, 2, 0)}, {"y; num_steps=4", measured(0.1, 4, 0.5)}, {"z; num_steps=4", measured(0.2, 3, 1)}};
  const auto chosen = [&](std::vector<int32_t> budgets) {
    std::vector<std::string> out;
    for (const auto& choice : choose_settings(rows, run, budgets)) out.push_back(fmt::format("{} {}", choice.budget, choice.settings.substr(0, 1)));
    return out;
  };
  EXPECT_THAT(chosen({1, 2, 4, 5}), ElementsAre("2 x", "4 z", "5 y")) << "y takes 4.5 forwards of all kinds; nothing fits into 1";
  run["z; num_steps=4"].quality = 0.1;
  EXPECT_THAT(chosen({5}), ElementsAre("5 y")) << "a tie goes to the earlier one";
  run["y; num_steps=4"].count = 0;
  EXPECT_THAT(chosen({5}), ElementsAre("5 z")) << "a setting whose samples all failed is none";
  run.erase("x; num_steps=2");
  EXPECT_THROW(chosen({5}), UserError) << "the run was made from another file";
}

std::string run_into(const std::string& folder, const SweepPlan& plan) {
  SweepOptions options;
  options.out_dir = folder;
  options.threads = 2;
  return run_sweep(prepare_sweep(plan, nullptr), options).results_path;
}

TEST(SamplerTable, FromTwoRunsToText) {
  const SweepPlan plan = plan_of(kPlan);
  const auto denoiser = denoisers().make(plan.denoiser);
  const TemporaryFolder folder;
  const std::string tuning = run_into(folder / "tuning", plan);
  const auto rows = table_rows(plan, *denoiser);
  const auto tuned = read_measured(tuning, plan.denoiser, longest_canvas(tuning));
  EXPECT_EQ(tuned.size(), 11u) << "ten settings and the exact samples";
  EXPECT_EQ(tuned.at(rows[1].settings[0]).forwards(), 2);
  const auto chosen = choose_settings(rows, tuned, {2, 4});
  ASSERT_EQ(chosen.size(), 4u);
  // The file of the chosen settings holds exactly these.
  SweepPlan test = plan_of(chosen_sweep(plan, chosen));
  std::vector<std::string> again, once;
  for (const auto& row : table_rows(test, *denoiser)) again.insert(again.end(), row.settings.begin(), row.settings.end());
  for (const auto& choice : chosen) once.push_back(choice.settings);
  std::sort(again.begin(), again.end());
  std::sort(once.begin(), once.end());
  once.erase(std::unique(once.begin(), once.end()), once.end());
  EXPECT_EQ(again, once);

  EXPECT_THROW(make_sampler_table(plan, *denoiser, tuning, tuning, {2, 4}), UserError) << "judged on the samples it was chosen on";
  test.seeds = {6};
  const std::string tested = run_into(folder / "test", test);
  const SamplerTable table = make_sampler_table(plan, *denoiser, tuning, tested, {2, 4});
  const std::string markdown = table_markdown(table), csv = table_csv(table);
  EXPECT_THAT(markdown, HasSubstr("| bound | revises | - | - | 9 | "));
  EXPECT_THAT(markdown, HasSubstr("| fixed_plan | commits once | - | - | 1 | "));
  EXPECT_THAT(markdown, HasSubstr("1 to 9 settings were tried for a row"));
  EXPECT_THAT(markdown, HasSubstr("*exact samples"));
  EXPECT_THAT(csv, HasSubstr("\"bound\",revises,0,1,-,2,9,"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 6) << "a heading, two rows at two budgets, exact samples";
  const Measured& m = table.tested.at(table.chosen[3].settings);
  EXPECT_THAT(markdown, HasSubstr(fmt::format("{:.4f} ±", m.quality)));
  SweepPlan other = plan;
  other.denoiser = "hmm(states=4, alphabet=5)";
  EXPECT_THROW(make_sampler_table(other, *denoisers().make(other.denoiser), tuning, tested, {2, 4}), UserError) << "another denoiser's run";
}

TEST(SamplerTable, CountsForwardsForTheSameTokensWhateverTheCanvas) {  // ar's canvases are single tokens
  const SweepPlan plan = plan_of(R"toml(
[run]
name = "causal"
[denoiser]
model = "hmm(states=3, alphabet=5, length=6)"
[dataset]
name = "source(items=5)"
[[grid]]
sampler = ["ar", "s2d2(router=always, quota=off)", "fixed_step"]
steps = 2
)toml");
  const TemporaryFolder folder;
  const std::string run = run_into(folder / "run", plan);
  EXPECT_EQ(longest_canvas(run), 6);
  const auto rows = table_rows(plan, *denoisers().make(plan.denoiser));
  const auto measured = read_measured(run, plan.denoiser, longest_canvas(run));
  EXPECT_EQ(measured.at(rows[2].settings[0]).forwards(), 2);
  EXPECT_EQ(measured.at(rows[0].settings[0]).append, 5) << "six tokens, the last of which is not appended";
  EXPECT_EQ(choose_settings(rows, measured, {4}).size(), 2u) << "ar is not that cheap";
  const auto chosen = choose_settings(rows, measured, {8});
  ASSERT_EQ(chosen.size(), 3u);
  SamplerTable table{.title = "t", .denoiser = plan.denoiser, .tuning = "a", .test = "b", .rows = rows, .budgets = {8}, .chosen = chosen, .unit = 6, .tuned = measured, .tested = measured};
  EXPECT_THAT(table_markdown(table), HasSubstr("| s2d2 | commits once | causal mode | causal | 1 | "));
  EXPECT_THAT(table_markdown(table), HasSubstr("count, for 6 tokens"));
}

}  // namespace
}  // namespace canvaslab
