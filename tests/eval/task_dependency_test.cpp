// Answers with a known total correlation: the numbers by enumeration, the draws against the uniform law.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "eval/datasets/total_correlation.h"
#include "tests/support/made_items.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// Sum of the positions' entropies less ln of the number of answers, by going through all texts of the symbols.
double enumerated_total_correlation(const Task& task, const TaskItem& item, const std::string& symbols) {
  const size_t length = item.answer.size();
  std::vector<std::map<char, double>> counts(length);
  double num_right = 0;
  std::string text(length, symbols[0]);
  std::vector<size_t> digit(length, 0);
  for (size_t at = 0; at < length;) {
    if (task.is_right(item, text)) {
      ++num_right;
      for (size_t p = 0; p < length; ++p) ++counts[p][text[p]];
    }
    for (at = 0; at < length; ++at) {
      digit[at] = (digit[at] + 1) % symbols.size();
      text[at] = symbols[digit[at]];
      if (digit[at]) break;
    }
  }
  double out = -std::log(num_right);
  for (const auto& position : counts)
    for (const auto& [symbol, count] : position) out -= count / num_right * std::log(count / num_right);
  return out;
}

TEST(Dependency, TotalCorrelationIsThatOfTheRightAnswers) {
  const std::map<std::string, double> stated = {{"copy", copy_total_correlation(4, 2)}, {"shuffle", shuffle_total_correlation(4)}, {"latin", latin_total_correlation(3, 12)}};
  for (const auto& [kind, nats] : stated) {
    const auto task = make_task("dependency(kind=" + kind + ", level=1)");
    const TaskItem item = task->make(TaskSplit::kHeldOut, 0);
    // Sums of some twenty logarithms below 10: far below 1e-12.
    EXPECT_NEAR(enumerated_total_correlation(*task, item, item.question.substr(item.question.find(' ') + 1)), nats, 1e-12) << kind;
    EXPECT_EQ(item.category, fmt::format("{}, total correlation {:.3f} nats", kind, nats));
  }
  const auto task = make_task("dependency(kind=shuffle, level=1)");
  const TaskItem item = task->make(TaskSplit::kHeldOut, 0);
  EXPECT_GT(std::abs(enumerated_total_correlation(*task, item, item.question.substr(8)) - copy_total_correlation(4, 2)), 0.1) << "the comparison finds a wrong number";
}

TEST(Dependency, AnswersAreUniformOverTheRightOnes) {
  // Answers by the rank of each letter in the question, so that all questions add up: 12 squares of order 3, 24 permutations, 16 strings said twice.
  for (const auto& [kind, count] : {std::pair{"latin", 12.0}, {"shuffle", 24.0}, {"copy", 16.0}}) {
    std::map<std::string, double> counts;
    constexpr double kDraws = 12000;
    for (const auto& item : draw(*make_task(fmt::format("dependency(kind={}, level=1)", kind)), TaskSplit::kTraining, static_cast<uint64_t>(kDraws))) {
      const std::string symbols = item.question.substr(item.question.find(' ') + 1);
      std::string ranks;
      for (const char c : item.answer) ranks += static_cast<char>('0' + symbols.find(c));
      ++counts[ranks];
    }
    double chi_squared = 0;
    for (const auto& [ranks, seen] : counts) chi_squared += (seen - kDraws / count) * (seen - kDraws / count) / (kDraws / count);
    EXPECT_EQ(counts.size(), count) << kind;
    EXPECT_LT(chi_squared, count - 1 + 5 * std::sqrt(2 * (count - 1))) << kind;  // draws of a fixed seed; mean and five standard deviations
  }
  EXPECT_EQ(latin_total_correlation(5, 161280), 25 * std::log(5.0) - std::log(161280.0));
  EXPECT_THAT(make_task("dependency(kind=latin, level=3)")->make(TaskSplit::kTraining, 0).category, HasSubstr(fmt::format("{:.3f}", latin_total_correlation(5, 161280)))) << "161,280 squares of order 5";
}

}  // namespace
}  // namespace canvaslab
