// Seeded subsets: proportional, nested, independent of the file's order, and in the plan.
#include "eval/subset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// MMLU-Pro's shape in small: categories one after another, as the file has them.
std::vector<Example> sorted_examples() {
  const std::pair<const char*, int> sizes[] = {{"math", 135}, {"law", 110}, {"history", 38}, {"rare", 3}};
  std::vector<Example> out;
  for (const auto& [category, count] : sizes)
    for (int i = 0; i < count; ++i) {
      Example example;
      example.id = category + std::to_string(i), example.category = category;
      out.push_back(std::move(example));
    }
  return out;
}

TEST(StratifiedSubset, IsProportionalAtEverySize) {
  const auto examples = sorted_examples();
  std::map<std::string, double> sizes;
  for (const auto& example : examples) sizes[example.category] += 1;
  for (size_t count = 0; count <= examples.size(); ++count) {
    std::map<std::string, double> taken;
    const auto subset = stratified_subset(examples, count, 5);
    ASSERT_EQ(std::set(subset.begin(), subset.end()).size(), count);
    ASSERT_TRUE(std::is_sorted(subset.begin(), subset.end()));
    for (const size_t i : subset) taken[examples[i].category] += 1;
    for (const auto& [category, size] : sizes)  // four categories rounded: none is off by more than one and a half
      EXPECT_LE(std::abs(taken[category] - size * static_cast<double>(count) / static_cast<double>(examples.size())), 1.5) << category << " at " << count;
  }
  std::map<std::string, int> first;  // what 'the first 40' would be
  for (size_t i = 0; i < 40; ++i) ++first[examples[i].category];
  EXPECT_EQ(first.size(), 1u) << "the bias this is there to avoid";
}

TEST(StratifiedSubset, IsNestedSeededAndIndependentOfTheOrder) {
  const auto examples = sorted_examples();
  for (size_t count = 1; count <= examples.size(); ++count) {
    const auto small = stratified_subset(examples, count - 1, 5), large = stratified_subset(examples, count, 5);
    ASSERT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end())) << count;
  }
  EXPECT_NE(stratified_subset(examples, 40, 5), stratified_subset(examples, 40, 6));
  auto reversed = examples;
  std::reverse(reversed.begin(), reversed.end());
  std::set<std::string> one, two;
  for (const size_t i : stratified_subset(examples, 40, 5)) one.insert(examples[i].id);
  for (const size_t i : stratified_subset(reversed, 40, 5)) two.insert(reversed[i].id);
  EXPECT_EQ(one, two);
  EXPECT_THROW(stratified_subset(examples, examples.size() + 1, 5), std::invalid_argument);
}

PreparedSweep prepared(const std::string& dataset, std::optional<int64_t> limit = {}) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"hmm(states=2, alphabet=4)\"\n[dataset]\nname = \"source(items=50)\"\n" + dataset +
                                       "[grid]\nsampler = \"fixed_step\"\nsteps = 2\ncanvas_length = 6\n");
  SweepPlan plan = read_sweep(folder / "plan.toml", {});
  plan.limit = limit;
  return prepare_sweep(std::move(plan), nullptr);
}

TEST(StratifiedSubset, IsInThePlanAndKeepsEachItemsDraws) {
  const auto whole = prepared(""), part = prepared("subset = 7\nsubset_seed = 3\n"), other = prepared("subset = 7\nsubset_seed = 4\n");
  EXPECT_EQ(whole.header.find("subset"), std::string::npos);
  EXPECT_NE(part.header.find("items 7\nsubset 7 seed 3 of items "), std::string::npos) << part.header;
  EXPECT_NE(part.header, other.header);
  ASSERT_EQ(part.examples.size(), 7u);
  for (uint32_t i = 0; i < 7; ++i) {
    const uint32_t number = part.examples[i].number;
    EXPECT_EQ(whole.examples[number].id, part.examples[i].id);
    EXPECT_EQ(whole.content_key(0, number, 0), part.content_key(0, i, 0)) << "a sample is the same in every subset that has it";
    const SweepTask in_whole{0, number, 0, whole.content_key(0, number, 0)}, in_part{0, i, 0, part.content_key(0, i, 0)};
    EXPECT_EQ(run_tasks(whole, std::span(&in_whole, 1))[0].token_ids, run_tasks(part, std::span(&in_part, 1))[0].token_ids) << i;
  }
}

TEST(StratifiedSubset, MistakesAreNamed) {
  const auto mistake = [](const std::string& dataset, std::optional<int64_t> limit = {}) {
    try {
      prepared(dataset, limit);
      return std::string("no error");
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return std::string(error.what());
    }
  };
  EXPECT_NE(mistake("subset = 51\n").find("subset is 51, but 'source(items=50)' has 50 items"), std::string::npos) << mistake("subset = 51\n");
  EXPECT_NE(mistake("subset = 0\n").find("plan.toml:5:10: 'subset' is 0"), std::string::npos) << mistake("subset = 0\n");
  EXPECT_NE(mistake("subset_seed = 2\n").find("'subset_seed' without 'subset'"), std::string::npos);
  EXPECT_NE(mistake("subset = 5\n", 3).find("give one of them"), std::string::npos);
  EXPECT_NE(mistake("subsets = 5\n").find("did you mean 'subset'?"), std::string::npos);
}

}  // namespace
}  // namespace canvaslab
