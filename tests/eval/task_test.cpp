// Made questions: two splits that share nothing, answers graded right, and wrong ones graded wrong.
#include "eval/datasets/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "core/digest.h"
#include "core/error.h"
#include "core/h5.h"
#include "core/json.h"
#include "core/text/chat.h"
#include "eval/datasets/sudoku_grid.h"
#include "eval/datasets/task_chain.h"
#include "eval/datasets/task_text.h"
#include "eval/sweep.h"
#include "tests/support/made_items.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

const std::string kModel = std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/base";

/// Every task at every level.
std::vector<std::string> all_tasks() {
  std::vector<std::string> out;
  for (const char* task : {"arithmetic(", "arithmetic(operands=small, ", "choice(", "choice(operands=small, ", "programs(", "sudoku(", "sudoku(size=6, ", "dependency(kind=copy, ", "dependency(kind=shuffle, ", "dependency(kind=latin, "})
    for (int level = 1; level <= 3; ++level) out.push_back(fmt::format("{}level={}", task, level) + ")");
  return out;
}

/// What a task promises to hold out, read off the texts alone.
std::string what_is_held_out(const std::string& task, const TaskItem& item) {
  if (task.starts_with("arithmetic") || task.starts_with("choice")) return item.question.substr(0, 5);
  if (task.starts_with("dependency")) {
    std::string symbols = item.question.substr(item.question.find(' ') + 1);
    std::sort(symbols.begin(), symbols.end());
    return symbols;
  }
  if (task.starts_with("programs")) return item.question;  // the values tell the function
  return item.answer;                                      // the grid
}

/// Questions and held-out things that `training` and `held_out` have in common.
size_t num_shared(const std::string& task, const std::vector<TaskItem>& training, const std::vector<TaskItem>& held_out) {
  std::set<std::string> seen;
  for (const auto& item : training) seen.insert(item.question), seen.insert("held out " + what_is_held_out(task, item));
  return static_cast<size_t>(std::count_if(held_out.begin(), held_out.end(), [&](const TaskItem& item) { return seen.contains(item.question) || seen.contains("held out " + what_is_held_out(task, item)); }));
}

TEST(EveryTask, ItsSplitsShareNothing) {
  for (const auto& text : all_tasks()) {
    // Another seed for the held-out items: the division is the task's, not the seed's.
    const auto trained = make_task(text), asked = make_task(text.substr(0, text.size() - 1) + ", seed=7)");
    const auto training = draw(*trained, TaskSplit::kTraining, 20000), held_out = draw(*asked, TaskSplit::kHeldOut, 20000);
    EXPECT_EQ(num_shared(text, training, held_out), 0u) << text;
    EXPECT_GT(num_shared(text, training, draw(*asked, TaskSplit::kTraining, 20000)), 0u) << text << ": 20,000 items of the same split do meet";
  }
}

TEST(EveryTask, HoldsOutTheShareItSays) {
  for (const auto& [words, share] : {std::pair{1u, 0.125}, {2u, 1.0 / 3}}) {
    size_t count = 0;
    constexpr uint32_t kDraws = 100000;
    for (uint32_t i = 0; i < kDraws; ++i) count += is_held_out(words, std::array{i, i * 7}, share);
    EXPECT_NEAR(static_cast<double>(count), share * kDraws, 5 * std::sqrt(kDraws * share * (1 - share)));  // a hash that is as good as random: 5 standard deviations
  }
}

TEST(EveryTask, ChainsOfAllTasksAndLengthsAreDividedTheSameWay) {
  for (const char* text : {"arithmetic(level=1)", "arithmetic(level=3)", "choice(level=1)"})
    for (const TaskSplit split : {TaskSplit::kTraining, TaskSplit::kHeldOut})
      for (const auto& item : draw(*make_task(text), split, 200)) EXPECT_EQ(chain_is_held_out(item.question), split == TaskSplit::kHeldOut);
}

TEST(EveryTask, SmallOperandsAreAsLikelyAsTheySay) {
  // A digit d has the mean over limits 1 .. 10 of 1/limit where d < limit. The first three operands are drawn again until their beginning is in the split, so only those behind are counted.
  const auto share = [](int d, const std::string& operands) {
    double sum = 0;
    for (int limit = d + 1; limit <= 10; ++limit) sum += 1.0 / limit;
    return operands == "small" ? sum / 10 : 0.1;
  };
  for (const std::string operands : {"any", "small"}) {
    std::array<double, 10> count{};
    constexpr double kDraws = 4000 * 4;
    for (const auto& item : draw(*make_task("arithmetic(operands=" + operands + ")"), TaskSplit::kTraining, 4000))
      for (size_t i = 6; i < 14; i += 2) ++count[static_cast<size_t>(item.question[i] - '0')];
    for (int d = 0; d < 10; ++d) {
      const double p = share(d, operands);
      EXPECT_NEAR(count[static_cast<size_t>(d)] / kDraws, p, 5 * std::sqrt(p * (1 - p) / kDraws)) << operands << " " << d;  // 5 standard deviations
    }
  }
}

TEST(EveryTask, ItemsAreAFunctionOfSeedSplitAndNumber) {
  for (const auto& text : all_tasks()) {
    const auto one = make_task(text), two = make_task(text), other = make_task(text.substr(0, text.size() - 1) + ", seed=2)");
    const auto same = [](const TaskItem& a, const TaskItem& b) { return a.question == b.question && a.thought == b.thought && a.answer == b.answer && a.reference == b.reference && a.category == b.category; };
    size_t differ = 0;
    for (const uint64_t number : {uint64_t{3}, uint64_t{1} << 40, uint64_t{0}, uint64_t{7}, uint64_t{3}}) {
      EXPECT_TRUE(same(one->make(TaskSplit::kTraining, number), two->make(TaskSplit::kTraining, number))) << text;
      differ += !same(one->make(TaskSplit::kTraining, number), other->make(TaskSplit::kTraining, number));
    }
    EXPECT_GT(differ, 0u) << text;
  }
}

/// Everything about the first 200 items of both splits.
std::string digest_of_items(const std::string& task) {
  std::string all;
  for (const TaskSplit split : {TaskSplit::kTraining, TaskSplit::kHeldOut})
    for (const auto& item : draw(*make_task(task), split, 200)) all += item.question + "|" + item.thought + "|" + item.answer + "|" + item.reference + "|" + item.category + "\n";
  return hex(sha256(all)).substr(0, 16);
}

TEST(EveryTask, MakesTheItemsThatStoredResultsWereMadeWith) {
  // Whoever changes one of these raises kTaskVersion, or old and new results would pass for results on the same questions.
  const std::map<std::string, std::string> recorded = {
      {"arithmetic(level=1)", "cf1081dc76f4ba5b"}, {"arithmetic(level=2)", "61d86a24e93667a8"}, {"arithmetic(level=3)", "6ea91e9b7d6b77f0"},
      {"arithmetic(operands=small, level=1)", "5fdb543f3866b26d"}, {"arithmetic(operands=small, level=2)", "1f9086d3451f5afe"}, {"arithmetic(operands=small, level=3)", "ab786bec1d5cf107"},
      {"choice(operands=small, level=1)", "7ff7e07ff9860ef1"}, {"choice(operands=small, level=2)", "70fee5d9d40edba9"}, {"choice(operands=small, level=3)", "25ab992eed85d8c2"},
      {"choice(level=1)", "aba3789dfba8c928"}, {"choice(level=2)", "db0f44577dc12f81"}, {"choice(level=3)", "7604513c55d0c0bf"},
      {"programs(level=1)", "5aa8ebb932fec8a6"}, {"programs(level=2)", "3b503ab40c1d3487"}, {"programs(level=3)", "d0520c943b67f4aa"},
      {"sudoku(level=1)", "14a4ad0e9672d3b4"}, {"sudoku(level=2)", "1b7271207565012e"}, {"sudoku(level=3)", "39ecaf3dc8dbde72"},
      {"sudoku(size=6, level=1)", "8e8493e82aba0d18"}, {"sudoku(size=6, level=2)", "74efa92c417dad8d"}, {"sudoku(size=6, level=3)", "f0e39f36b5bd97d9"},
      {"dependency(kind=copy, level=1)", "92f2b0d0d185229b"}, {"dependency(kind=copy, level=2)", "0601411b6cf3a2ed"}, {"dependency(kind=copy, level=3)", "9c099166bc4cd5a9"},
      {"dependency(kind=shuffle, level=1)", "7cb1f5848ccc007c"}, {"dependency(kind=shuffle, level=2)", "11bac31af41749be"}, {"dependency(kind=shuffle, level=3)", "926eac166a80ac52"},
      {"dependency(kind=latin, level=1)", "86510ce1d048fb49"}, {"dependency(kind=latin, level=2)", "dadfc7eff78e0806"}, {"dependency(kind=latin, level=3)", "e58d360f3129b926"},
  };
  for (const auto& task : all_tasks()) EXPECT_EQ(digest_of_items(task), recorded.at(task)) << task;
  EXPECT_NE(digest_of_items("arithmetic(seed=2)"), digest_of_items("arithmetic"));
}

TEST(EveryTask, ItsQuestionsHaveOneLength) {
  const auto text = TextModel::load(kModel);
  const TaskText writer(*text);
  for (const auto& task : all_tasks()) {
    std::set<size_t> lengths;
    for (const auto& item : draw(*make_task(task), TaskSplit::kTraining, 300)) lengths.insert(writer.tokens(item).prompt.size());
    EXPECT_EQ(lengths.size(), 1u) << task;
  }
}

TEST(EveryTask, MostAnswersFitOneCanvasOf32Tokens) {
  const auto text = TextModel::load(kModel);
  const TaskText writer(*text);
  for (const auto& task : all_tasks()) {
    size_t longest = 0;
    for (const auto& item : draw(*make_task(task), TaskSplit::kTraining, 300)) longest = std::max(longest, writer.tokens(item).answer.size());
    EXPECT_LE(longest, (task.starts_with("arithmetic") && task.ends_with("level=3)")) || task.starts_with("sudoku(size=6") ? 64u : 32u) << task;
  }
}

// --- grading

/// Token ids of an item's own answer through the whole grading path.
class Graded : public ::testing::Test {
 protected:
  Score score(const Task& task, const TaskItem& item) const {
    Example example;
    example.messages = {{.role = "user", .content = item.question}};
    example.reference = item.reference;
    return task.score(example, writer_.tokens(item).answer, *denoiser_);
  }
  std::unique_ptr<Task> task(const std::string& name) const {
    auto out = make_task(name);
    const Tokenizer& tokenizer = text_->tokenizer();
    out->use_text({.decode = [&tokenizer](std::span<const int32_t> ids) { return tokenizer.decode(ids, true); },
                   .stop_ids = {*tokenizer.id("<turn|>")},
                   .channel_open = tokenizer.id("<|channel>"),
                   .channel_close = tokenizer.id("<channel|>")});
    return out;
  }

  std::optional<TextModel> text_ = TextModel::load(kModel);
  TaskText writer_{*text_};
  std::unique_ptr<Denoiser> denoiser_ = denoisers().make("uniform(alphabet=4)");
};

/// The answer with one character changed. Of a program only a digit: names and the sign before a zero may change freely.
std::string mutated(const std::string& answer, std::mt19937& engine) {
  const std::string characters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.";
  const bool program = answer.starts_with("def");
  std::string out = answer;
  size_t at;
  do at = engine() % out.size();
  while (program && !std::isdigit(static_cast<unsigned char>(out[at])));
  while (out[at] == answer[at]) out[at] = characters[engine() % (program ? 10 : characters.size())];
  return out;
}

TEST_F(Graded, EveryMadeAnswerIsRightAndWithOneCharacterChangedWrong) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  for (const auto& name : all_tasks()) {
    const auto made = task(name);
    for (const TaskSplit split : {TaskSplit::kTraining, TaskSplit::kHeldOut})
      for (auto& item : draw(*made, split, 50)) {
        EXPECT_EQ(score(*made, item).value, 1) << name << ": " << item.question << " " << item.answer;
        EXPECT_TRUE(made->is_right(item, item.answer));
        item.answer = mutated(item.answer, engine);
        // No two completions, permutations, squares or doubled strings differ in a single place.
        EXPECT_EQ(score(*made, item).value, 0) << name << ": " << item.question << " " << item.answer << " seed " << seed;
      }
  }
}

TEST_F(Graded, TheThoughtIsNotGradedAndAMissingEndIsSaid) {
  const auto made = task("arithmetic");
  TaskItem item = made->make(TaskSplit::kHeldOut, 0);
  item.thought = "nothing of use";
  EXPECT_EQ(score(*made, item).value, 1);
  EXPECT_EQ(score(*made, item).texts.at(0), item.answer);
  Example example;
  example.messages = {{.role = "user", .content = item.question}};
  example.reference = item.reference;
  auto tokens = writer_.tokens(item).answer;
  tokens.pop_back();
  const Score cut = made->score(example, tokens, *denoiser_);
  EXPECT_EQ(cut.value, 1) << "the answer is there";
  EXPECT_EQ(cut.metrics.at(6), 1) << "but it did not end by itself";
}

TEST_F(Graded, AnyTextIsJudgedWithoutAnError) {
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  const std::string alphabet = "0123456789ABCDEFGZdefrturnx()+-*/%<=>!:. \n_\"\x80\xff";
  for (const auto& name : all_tasks()) {
    const auto made = make_task(name);
    const TaskItem item = made->make(TaskSplit::kHeldOut, 0);
    for (int round = 0; round < 500; ++round) {
      std::string text(engine() % 60, ' ');
      for (char& c : text) c = alphabet[engine() % alphabet.size()];
      EXPECT_FALSE(made->is_right(item, text) && text.size() < 5 && item.answer.size() > 5) << name << " seed " << seed;
    }
    EXPECT_FALSE(made->is_right(item, "")) << name;
  }
}

TEST_F(Graded, ASweepAsksHeldOutQuestionsInTheChatFormatAndGradesThem) {
  // A model that always answers 3: right where the reference says so.
  const Tokenizer& tokenizer = text_->tokenizer();
  const TaskItem always{.question = "", .thought = "1", .answer = "3", .reference = "", .category = ""};
  const auto tokens = writer_.tokens(always).answer;
  const TemporaryFolder folder;
  write_file(folder / "script.json", json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {tokens.back()}}, {"canvases", {{{{"tokens", tokens}, {"peak", 30}}}}}}));
  write_file(folder / "plan.toml", fmt::format("[run]\nname = \"task\"\nseed = 1\n[denoiser]\nmodel = \"scripted(path='{}')\"\n[dataset]\nname = \"arithmetic(items=60)\"\n[grid]\nsampler = \"fixed_step\"\nsteps = 1\n"
                                               "emission = \"argmax\"\n", folder / "script.json"));
  const auto sweep = prepare_sweep(read_sweep(folder / "plan.toml", {}), std::make_shared<const TextModel>(*text_));
  SweepOptions options;
  options.out_dir = folder / "run";
  options.threads = 1;
  const H5Reader file(run_sweep(sweep, options).results_path);
  const auto score = file.read<double>("samples/score");
  ASSERT_EQ(score.size(), 60u);
  double right = 0;
  for (size_t i = 0; i < score.size(); ++i) {
    const Example& example = sweep.examples[i];
    EXPECT_EQ(score[i], example.reference == "3");
    EXPECT_TRUE(chain_is_held_out(example.messages.at(0).content));
    EXPECT_EQ(tokenizer.decode(example.prompt_ids), "<bos><|turn>user\n" + example.messages[0].content + "<turn|>\n<|turn>model\n");
    right += score[i];
  }
  EXPECT_GT(right, 0);
  EXPECT_LT(right, 60);
  EXPECT_EQ(file.text_attribute("aggregates", "quality"), "accuracy");
}

// --- what each task is about

TEST(Arithmetic, TheThoughtHoldsTheRunningResults) {
  for (const auto& item : draw(*make_task("arithmetic(level=3)"), TaskSplit::kHeldOut, 200)) {
    ASSERT_EQ(item.question.size(), 34u);
    int value = item.question[0] - '0';
    std::string worked;
    for (size_t i = 1; i + 1 < item.question.size(); i += 2) {
      value = (value + (item.question[i] == '+' ? 1 : -1) * (item.question[i + 1] - '0') + 10) % 10;
      worked += (worked.empty() ? "" : ",") + std::to_string(value);
    }
    EXPECT_EQ(item.thought, worked);
    EXPECT_EQ(item.answer, std::to_string(value));
  }
}

TEST(Choice, ExactlyOneOptionHoldsTheValueAndAllPlacesOccur) {
  std::map<std::string, int> places;
  for (const auto& item : draw(*make_task("choice"), TaskSplit::kTraining, 4000)) {
    const size_t mark = item.question.find('?');
    ASSERT_EQ(item.question.size(), mark + 9);
    const std::string values = {item.question[mark + 1], item.question[mark + 3], item.question[mark + 5], item.question[mark + 7]};
    EXPECT_EQ(std::set<char>(values.begin(), values.end()).size(), 4u) << item.question;
    const std::string stated = item.thought.substr(item.thought.size() - 2);  // value and letter
    EXPECT_THAT(item.question, HasSubstr(stated));
    EXPECT_EQ(stated.substr(1), item.answer);
    ++places[item.answer];
  }
  for (const char* letter : {"A", "B", "C", "D"}) EXPECT_NEAR(places[letter], 1000, 5 * std::sqrt(4000 * 0.25 * 0.75)) << letter;
}

TEST(Sudoku, ThereAre288GridsAndEveryCompletionOfAQuestionIsRight) {
  const SudokuShape shape;
  const auto grids = all_sudoku_grids(shape);
  EXPECT_EQ(std::set<std::string>(grids.begin(), grids.end()).size(), 288u);
  const auto task = make_task("sudoku(level=3)");
  size_t several = 0;
  for (const auto& item : draw(*task, TaskSplit::kHeldOut, 300)) {
    EXPECT_EQ(std::count(item.question.begin(), item.question.end(), '.'), 12);
    size_t right = 0, completions = 0;
    for (const auto& grid : grids) {
      bool fits = true;
      for (size_t cell = 0; cell < grid.size(); ++cell) fits &= item.question[cell] == '.' || item.question[cell] == grid[cell];
      completions += fits;
      right += task->is_right(item, grid);
    }
    EXPECT_EQ(right, completions);
    several += completions > 1;
  }
  EXPECT_GT(several, 100u) << "few given cells leave a choice";
}

TEST(Sudoku, NoTrainingQuestionHasAHeldOutCompletion) {
  const auto task = make_task("sudoku(level=3)");
  std::set<std::string> held_out;
  for (const auto& item : draw(*task, TaskSplit::kHeldOut, 5000)) held_out.insert(item.answer);
  EXPECT_GT(held_out.size(), 20u);
  EXPECT_LT(held_out.size(), 60u);
  for (const auto& item : draw(*task, TaskSplit::kTraining, 2000))
    for (const auto& grid : held_out) EXPECT_FALSE(task->is_right(item, grid)) << item.question << " " << grid;
}

TEST(Sudoku, GridsOfSixHaveTheirDigitsInRowsColumnsAndBoxes) {
  for (const auto& item : draw(*make_task("sudoku(size=6)"), TaskSplit::kTraining, 100)) {
    std::array<std::set<char>, 6> rows, columns, boxes;
    for (size_t cell = 0; cell < 36; ++cell) {
      rows[cell / 6].insert(item.answer[cell]), columns[cell % 6].insert(item.answer[cell]);
      boxes[cell / 12 * 2 + cell % 6 / 3].insert(item.answer[cell]);
    }
    for (size_t i = 0; i < 6; ++i) EXPECT_TRUE(rows[i].size() == 6 && columns[i].size() == 6 && boxes[i].size() == 6) << item.answer;
  }
}

TEST(Programs, AFunctionThatAgreesOnlyOnWhatWasShownIsWrong) {
  const auto task = make_task("programs(level=1)");
  const TaskItem item{.question = "f=07,13,19", .thought = "", .answer = "", .reference = "def f(x):return 6*x+7", .category = ""};
  EXPECT_TRUE(task->is_right(item, "def g(n):\n  return 7 + n*(2+4)"));
  EXPECT_FALSE(task->is_right(item, "def f(x):return 7 if x<1 else 13 if x<2 else 19"));
  EXPECT_FALSE(task->is_right(item, "def f(x):return 6*x+8"));
  EXPECT_FALSE(task->is_right(item, "def f(x):return 6*x+7 if x<6 else 1//0"));
  EXPECT_FALSE(task->is_right(item, "6*x+7"));
}

TEST(Programs, AreWrittenInSixteenWaysEquallyOften) {
  std::map<std::string, double> shapes;
  constexpr double kDraws = 4000;
  for (const auto& item : draw(*make_task("programs(level=1)"), TaskSplit::kTraining, static_cast<uint64_t>(kDraws))) {
    std::string shape;
    for (const char c : item.answer)
      if (!std::isdigit(static_cast<unsigned char>(c))) shape += c;
      else if (shape.back() != '#') shape += '#';
    ++shapes[shape];
  }
  EXPECT_EQ(shapes.size(), 16u) << "four names, two orders of terms, two of factors";
  for (const auto& [shape, count] : shapes) EXPECT_NEAR(count, kDraws / 16, 5 * std::sqrt(kDraws * 15 / 256)) << shape;  // five standard deviations
}

TEST(EveryTask, MiddleDifficultyHasFiveHundredHeldOutQuestions) {
  for (const auto& name : all_tasks())
    if (name.find("level=2") != std::string::npos) {
      EXPECT_EQ(make_task(name.substr(0, name.size() - 1) + ", items=500)")->load().size(), 500u) << name;
    }
}

TEST(EveryTask, SaysHowManyQuestionsThereAreWhenMoreAreAskedFor) {
  try {
    make_task("programs(level=1, items=5000)")->load();
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("programs: level 1 has about 2"));
  }
  EXPECT_THROW(make_task("sudoku(size=5)"), UserError);
  EXPECT_THROW(make_task("jsonl(file=x)"), UserError) << "no task";
  EXPECT_THROW(make_task("arithmetic(level=4)"), UserError);
}

}  // namespace
}  // namespace canvaslab
