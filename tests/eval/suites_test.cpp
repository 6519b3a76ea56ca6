// suites: several made tasks as one data set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "eval/datasets/task.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// A decoder whose tokens are bytes; 1 ends an answer.
grading::TextDecoder bytes() {
  return {.decode = [](std::span<const int32_t> ids) { return std::string(ids.begin(), ids.end()); }, .count_tokens = [](const std::string& text) { return text.size(); }, .stop_ids = {1}, .channel_open = std::nullopt,
          .channel_close = std::nullopt};
}

TEST(Suites, EveryTaskIsACategoryGradedByItsOwnRule) {
  const auto suites = datasets().make("suites(tasks=\"sudoku(level=1); arithmetic(items=3); choice\", items=5, seed=2)");
  suites->use_text(bytes());
  const auto examples = suites->load();
  std::map<std::string, int> count;
  const auto denoiser = denoisers().make("hmm(states=2, alphabet=4)");
  for (const auto& example : examples) {
    ++count[example.category];
    // A grid counts whatever it is, if it is one; an operation's value only if it is right.
    std::vector<int32_t> tokens(example.reference.begin(), example.reference.end());
    tokens.push_back(1);
    EXPECT_EQ(suites->score(example, tokens, *denoiser).value, 1) << example.id;
    tokens.front() = '#';
    EXPECT_EQ(suites->score(example, tokens, *denoiser).value, 0) << example.id;
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"sudoku(level=1)", 5}, {"arithmetic(items=3)", 3}, {"choice", 5}}));
  const auto alone = make_task("sudoku(level=1, items=5, seed=2)")->load();
  EXPECT_EQ(std::count_if(examples.begin(), examples.end(), [&](const Example& e) { return e.messages.front().content == alone[0].messages.front().content; }), 1);
}

TEST(Suites, WhatTheQuestionsAreIsPartOfTheHash) {
  const auto hash = [](const std::string& text) { return datasets().make(text)->content_hash(); };
  EXPECT_EQ(hash("suites"), hash("suites(items=100)"));
  EXPECT_NE(hash("suites"), hash("suites(items=99)"));
  EXPECT_NE(hash("suites"), hash("suites(seed=2)"));
  EXPECT_NE(hash("suites(tasks=\"choice\")"), hash("suites(tasks=\"sudoku\")"));
}

TEST(Suites, MistakesAreTold) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      datasets().make(text);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message("suites(tasks=\" ; \")"), HasSubstr("'tasks' names none"));
  EXPECT_THAT(message("suites(tasks=\"choice; choice\")"), HasSubstr("named twice"));
  EXPECT_THAT(message("suites(tasks=\"source\")"), HasSubstr("makes no questions of its own"));
  EXPECT_THAT(message("suites(tasks=\"sudoko\")"), HasSubstr("sudoku"));
}

}  // namespace
}  // namespace canvaslab
