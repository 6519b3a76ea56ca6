// Graded data sets: thought and answer, both graders, and a run from a file to an accuracy with its interval.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/text/chat.h"
#include "eval/category_rates.h"
#include "eval/compare.h"
#include "eval/export.h"
#include "eval/graded.h"
#include "eval/paired.h"
#include "eval/prompt_template.h"
#include "eval/results.h"
#include "eval/run_scores.h"
#include "tests/support/ascii_text.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

// --- one sample

const grading::TextDecoder kAscii = testing::ascii_decoder(/*channels=*/true);

/// "<" opens a channel, ">" closes it, "|" ends the answer.
std::vector<int32_t> ids_of(std::string_view text) {
  std::vector<int32_t> out;
  for (char c : text) out.push_back(c == '<' ? 2 : c == '>' ? 3 : c == '|' ? 1 : c);
  return out;
}

struct Judged {
  Score score;
  ScoreFacts facts;
  std::string word(const std::string& metric) const {
    for (size_t m = 0; m < facts.metrics.size(); ++m)
      if (facts.metrics[m].name == metric) return facts.metrics[m].names.empty() ? fmt::format("{}", score.metrics[m]) : facts.metrics[m].names[static_cast<size_t>(score.metrics[m])];
    return "no metric " + metric;
  }
};

class OneSample : public ::testing::Test {
 protected:
  Judged judge(const std::string& options, std::string_view text, const std::string& answer = "B", std::vector<std::string> shown = {"w", "x", "y", "z"}) const {
    const auto dataset = datasets().make("jsonl(file=none" + options + ")");
    dataset->use_text(kAscii);
    Example example;
    example.reference = answer;
    example.options = std::move(shown);
    const auto tokens = ids_of(text);
    return {dataset->score(example, tokens, *denoiser_), dataset->score_facts()};
  }
  std::unique_ptr<Denoiser> denoiser_ = denoisers().make("uniform(alphabet=4)");
};

TEST_F(OneSample, VerdictsSayWhatBecameOfIt) {
  const auto verdict = [&](std::string_view text) { return judge(", rule=choice", text).word("verdict"); };
  EXPECT_EQ(verdict("The answer is (B)|"), "correct");
  EXPECT_EQ(verdict("The answer is (C)|"), "wrong");
  EXPECT_EQ(verdict("no idea|"), "no_answer");
  EXPECT_EQ(verdict("The answer is (C)"), "truncated");
  EXPECT_EQ(verdict("<thought the answer is (B)|"), "thought_unclosed");
  EXPECT_EQ(verdict("<thought the answer is (C)>The answer is (B)|"), "correct") << "the thought is not graded";
}

TEST_F(OneSample, StrictAndSalvagedScoresDifferOnlyForUnclosedThoughts) {
  const auto open = judge(", rule=choice", "<thought the answer is (B)|");
  EXPECT_EQ(open.score.value, 0);
  EXPECT_EQ(open.word("accuracy_salvaged"), "1");
  EXPECT_EQ(open.word("num_thought_tokens"), "25");
  const auto closed = judge(", rule=choice", "<thought the answer is (B)>The answer is (C)|");
  EXPECT_EQ(closed.score.value, 0);
  EXPECT_EQ(closed.word("accuracy_salvaged"), "0");
  EXPECT_TRUE(std::isnan(judge(", rule=choice", "answer is (B)").score.metrics[5])) << "a truncated sample says nothing about those that ended";
}

TEST_F(OneSample, BothGradersStandSideBySideWithTheRuleThatFired) {
  const char* text = "The answer is (C). No: the answer is (B).|";
  const auto ours = judge(", rule=choice", text), theirs = judge(", rule=choice, grader=official", text);
  EXPECT_EQ(ours.score.value, 1);
  EXPECT_EQ(ours.word("accuracy_official"), "0");
  EXPECT_EQ(ours.word("rule"), "answer_is");
  EXPECT_EQ(ours.score.texts, (std::vector<std::string>{"B", "C"}));
  EXPECT_EQ(theirs.score.value, 0);
  EXPECT_EQ(theirs.word("accuracy_house"), "1");
  EXPECT_EQ(theirs.score.texts, (std::vector<std::string>{"C", "B"}));
  EXPECT_EQ(judge(", rule=integer", "so \\boxed{042}|", "42").word("rule"), "boxed");
  EXPECT_EQ(judge(", rule=integer", "so \\boxed{042}|", "42").score.value, 1);
  EXPECT_EQ(judge(", rule=math", "so \\boxed{\\frac{1}{2}}|", "0.5", {}).score.value, 1);
  EXPECT_EQ(judge(", rule=exact", " yes |", "yes").score.value, 1);
  EXPECT_EQ(judge(", rule=exact", "Yes|", "yes").score.value, 0);
}

TEST(Loop, IsATailThatRepeatsFourTimesOver32Tokens) {
  const auto ends = [](std::string_view text) {
    const auto ids = ids_of(text);
    return ends_in_loop(ids);
  };
  std::string words;
  for (int i = 0; i < 8; ++i) words += "again ";
  EXPECT_TRUE(ends("It is so, " + words));
  EXPECT_FALSE(ends(words.substr(0, 30))) << "shorter than 32 tokens";
  EXPECT_FALSE(ends(words + "x"));
  EXPECT_FALSE(ends("An ordinary answer of some length that does not go round in circles."));
}

// --- templates

TEST(Template, FillsEachNameOnceAndLooksAtNothingItPutIn) {
  EXPECT_EQ(filled("{question} {x} {options}{question}", {{"question", "{options}"}, {"options", "o"}}), "{options} {x} o{options}");
  EXPECT_EQ(lettered({"a", "b"}, "(", ")"), "(A) a\n(B) b");
}

TEST(Template, AFileThatIsNeitherKnownNorFillableIsRefusedWithThePublishedHashes) {
  const TemporaryFolder folder;
  write_file(folder / "mine.txt", "Say it.");
  try {
    PromptTemplate("gpqa", folder / "mine.txt");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("d4d85337bbd54659"), HasSubstr("254 bytes"), HasSubstr("{question}")));
  }
  write_file(folder / "mine.txt", "Q: {question}");
  const PromptTemplate own("gpqa", folder / "mine.txt");
  EXPECT_EQ(own.known(), "");
  EXPECT_EQ(own.text(), "Q: {question}");
}

// --- a whole run

/// A model that writes "The answer is (X)." with X drawn from A to D, and its tokenizer.
class GradedRun : public ::testing::Test {
 protected:
  static constexpr const char* kTokenizer = CANVASLAB_SOURCE_DIR "/tests/fixtures/text/gemma_like.json";
  static constexpr size_t kItems = 40;

  void SetUp() override {
    text_ = std::make_shared<const TextModel>(*TextModel::load(kTokenizer));
    const Tokenizer& tokenizer = text_->tokenizer();
    auto tokens = Json::array();
    for (const int32_t id : tokenizer.encode("The answer is (")) tokens.push_back(id);
    letter_place_ = tokens.size();
    tokens.push_back(nullptr);
    for (const int32_t id : tokenizer.encode(").")) tokens.push_back(id);
    tokens.push_back(*tokenizer.id("<turn|>"));
    Json letters;
    for (const char* letter : {"A", "B", "C", "D"}) letters[std::to_string(*tokenizer.id(letter))] = 30;
    write_file(folder_ / "script.json", json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {*tokenizer.id("<turn|>")}},
                                                       {"canvases", {{{{"tokens", tokens}, {"peak", 30}, {"logits", {{std::to_string(letter_place_), letters}}}}}}}}));
    std::string lines;
    for (size_t i = 0; i < kItems; ++i)
      lines += json_text(Json{{"id", fmt::format("q{}", i)}, {"prompt", fmt::format("Which letter is number {}?", i)}, {"answer", std::string(1, letter_of(i))}, {"options", {"a", "b", "c", "d"}},
                              {"category", i % 3 ? "vowels" : "others"}}) + "\n";
    write_file(folder_ / "letters.jsonl", lines);
  }
  static char letter_of(size_t item) { return static_cast<char>('A' + item * 7 % 4); }

  PreparedSweep prepare(const std::string& more = "", const std::string& grid = "") const {
    write_file(folder_ / "plan.toml",
               fmt::format("[run]\nname = \"letters\"\nseed = 1\n{}[denoiser]\nmodel = \"scripted(path='{}')\"\n[dataset]\nname = \"jsonl(file='{}', rule=choice)\"\n[grid]\nsampler = "
                           "\"fixed_step\"\nsteps = 1\nemission = \"canvas\"\n{}",
                           more, folder_ / "script.json", folder_ / "letters.jsonl", grid));
    return prepare_sweep(read_sweep(folder_ / "plan.toml", {}), text_);
  }
  std::string run(const std::string& name, const std::string& more = "", const std::string& grid = "") const {
    SweepOptions options;
    options.out_dir = folder_ / name;
    options.threads = 2;
    return run_sweep(prepare(more, grid), options).results_path;
  }

  TemporaryFolder folder_;
  PromptEncoder text_;
  size_t letter_place_ = 0;
};

TEST_F(GradedRun, EndsInAnAccuracyWithItsIntervalByCategoryToo) {
  const H5Reader file(run("run"));
  const auto ids = file.read<int32_t>("text/ids");
  const auto begin = file.read<uint64_t>("samples/ids_begin");
  const auto score = file.read<double>("samples/score"), verdict = file.read<double>("metrics/verdict"), rule = file.read<double>("metrics/rule");
  const auto extracted = file.read_strings("answers/extracted");
  ASSERT_EQ(score.size(), kItems);
  // The letter is read off its place in the tokens: no grader takes part.
  std::map<std::string, std::pair<int, int>> by_category;
  int right = 0;
  for (size_t i = 0; i < kItems; ++i) {
    const std::string letter = *text_->tokenizer().token(ids[begin[i] + letter_place_]);
    const bool correct = letter == std::string(1, letter_of(i));
    EXPECT_EQ(score[i], correct) << i;
    EXPECT_EQ(extracted[i], letter);
    EXPECT_EQ(file.list_attribute("metrics/verdict", "names").at(static_cast<size_t>(verdict[i])), correct ? "correct" : "wrong");
    EXPECT_EQ(file.list_attribute("metrics/rule", "names").at(static_cast<size_t>(rule[i])), "answer_is");
    right += correct;
    auto& [hits, count] = by_category[i % 3 ? "vowels" : "others"];
    hits += correct, ++count;
  }
  EXPECT_GT(right, 0);
  EXPECT_LT(right, static_cast<int>(kItems));
  const auto one = [&](const std::string& name) { return file.read<double>("aggregates/" + name).at(0); };
  const double n = kItems, p = right / n, z = 1.959963984540054;
  EXPECT_EQ(file.text_attribute("aggregates", "quality"), "accuracy");
  EXPECT_EQ(file.integer_attribute("aggregates", "quality_higher_is_better"), 1);
  EXPECT_DOUBLE_EQ(one("accuracy"), p);
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n), half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  EXPECT_NEAR(one("accuracy_low"), centre - half, 1e-12);   // Wilson's formula, a handful of roundings
  EXPECT_NEAR(one("accuracy_high"), centre + half, 1e-12);
  EXPECT_DOUBLE_EQ(one("verdict_is_correct_mean"), p);
  EXPECT_DOUBLE_EQ(one("verdict_is_no_answer_mean"), 0);
  EXPECT_DOUBLE_EQ(one("rule_is_answer_is_mean"), 1);
  double macro = 0;
  const auto names = file.read_strings("categories/category");
  for (size_t c = 0; c < names.size(); ++c) {
    const auto [hits, count] = by_category.at(names[c]);
    EXPECT_DOUBLE_EQ(file.read<double>("categories/score_mean").at(c), static_cast<double>(hits) / count);
    EXPECT_EQ(file.read<int64_t>("categories/num_items").at(c), count);
    macro += static_cast<double>(hits) / count / 2;
  }
  EXPECT_NEAR(one("accuracy_category_mean"), macro, 1e-15);
}

TEST_F(GradedRun, RatesStandByCategory) {
  const std::string path = run("run");
  const H5Reader file(path);
  const auto rates = category_rates(file);
  const auto item = file.read<uint32_t>("samples/item_idx");
  const auto category = file.read_strings("items/category");
  const auto truncated = file.read<double>("metrics/truncated"), loop = file.read<double>("metrics/loop"), verdict = file.read<double>("metrics/verdict");
  const auto names = file.list_attribute("metrics/verdict", "names");
  const auto share = [&](const std::string& wanted, const std::function<bool(size_t)>& is) {
    double set = 0, count = 0;
    for (size_t i = 0; i < item.size(); ++i)
      if (wanted == "all" || category[item[i]] == wanted) set += is(i), count += 1;
    return set / count;
  };
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_EQ(rates[0].category, "all");
  EXPECT_EQ(rates[0].num_items, static_cast<int64_t>(kItems));
  EXPECT_EQ(rates[0].accuracy, file.read<double>("aggregates/accuracy").at(0));
  for (const auto& row : rates) {
    EXPECT_DOUBLE_EQ(row.truncated, share(row.category, [&](size_t i) { return truncated[i] == 1; })) << row.category;
    EXPECT_DOUBLE_EQ(row.loop, share(row.category, [&](size_t i) { return loop[i] == 1; })) << row.category;
    EXPECT_DOUBLE_EQ(row.no_answer, share(row.category, [&](size_t i) { return names.at(static_cast<size_t>(verdict[i])) == "no_answer"; })) << row.category;
    EXPECT_LE(row.low, row.accuracy);
    EXPECT_GE(row.high, row.accuracy);
  }
  export_run(path, "markdown", folder_ / "md");
  EXPECT_THAT(read_file(folder_ / "md/results.md"), ::testing::AllOf(HasSubstr("By category"), HasSubstr("| 0 | all | "), HasSubstr("| 0 | vowels | ")));
}

TEST_F(GradedRun, RepeatsAreAveragedByItemAndGetABootstrapInterval) {
  const H5Reader file(run("run", "repeats = 3\n"));
  const auto score = file.read<double>("samples/score");
  ASSERT_EQ(score.size(), 3 * kItems);
  std::vector<double> means;
  for (size_t i = 0; i < kItems; ++i) means.push_back((score[3 * i] + score[3 * i + 1] + score[3 * i + 2]) / 3);
  const Interval interval = bootstrap_interval(means, 1);
  EXPECT_DOUBLE_EQ(file.read<double>("aggregates/accuracy_low").at(0), interval.low);
  EXPECT_DOUBLE_EQ(file.read<double>("aggregates/accuracy_high").at(0), interval.high);
  EXPECT_THAT(file.text_attribute("aggregates", "quality_interval"), HasSubstr("bootstrap"));
}

TEST_F(GradedRun, AnInterruptedRunResumesToTheSameResults) {
  const std::string whole = run("run");
  SweepOptions options;
  options.out_dir = folder_ / "again";
  std::atomic<int> stop{0};
  options.interrupt = &stop;
  size_t done = 0;
  options.threads = 1;
  options.on_progress = [&](const ProgressMeter&) { stop = ++done == 11; };
  const auto sweep = prepare();
  EXPECT_TRUE(run_sweep(sweep, options).interrupted);
  options.interrupt = nullptr;
  const auto finished = run_sweep(sweep, options);
  EXPECT_EQ(finished.already_done, 11u);
  EXPECT_EQ(h5_difference(whole, finished.results_path), "");
}

TEST_F(GradedRun, ExportsHoldVerdictRuleAndExtraction) {
  const std::string path = run("run");
  const auto json = export_run(path, "json", folder_ / "json");
  const Json results = parse_json(read_file(json.at(0)));
  const double accuracy = H5Reader(path).read<double>("aggregates/accuracy").at(0);
  EXPECT_EQ(results["results"]["jsonl"]["accuracy,none"], accuracy);
  EXPECT_EQ(results["higher_is_better"]["jsonl"]["accuracy"], true);
  EXPECT_FALSE(results["results"]["jsonl"].contains("verdict,none")) << "words have no mean";
  std::istringstream lines(read_file(json.at(1)));
  std::string line;
  std::getline(lines, line);
  const Json sample = parse_json(line);
  EXPECT_EQ(sample["rule"], "answer_is");
  EXPECT_EQ(sample["verdict"], sample["accuracy"] == 1.0 ? "correct" : "wrong");
  EXPECT_EQ(sample["extracted"].get<std::string>().size(), 1u);
  export_run(path, "markdown", folder_ / "md");
  EXPECT_THAT(read_file(folder_ / "md/results.md"), ::testing::AllOf(HasSubstr("accuracy (higher is better)"), HasSubstr("Wilson"), HasSubstr(" to ")));
  export_run(path, "csv", folder_ / "csv");
  EXPECT_THAT(read_file(folder_ / "csv/categories.csv"), HasSubstr("vowels"));
}

TEST_F(GradedRun, TwoRunsCompareByFlippedItems) {
  const auto a = read_run_scores(run("a")), b = read_run_scores(run("b", "", "temperature = 2\n"));
  const auto comparison = compare_runs(a, b, {.config_a = {"0"}, .config_b = {"0"}, .seed = 1, .margin = {}});
  ASSERT_EQ(comparison.pairs.size(), 1u);
  EXPECT_TRUE(comparison.pairs[0].binary);
  EXPECT_EQ(comparison.pairs[0].num_items, kItems);
}

TEST_F(GradedRun, WithoutATokenizerOrASandboxItIsRefused) {
  const auto refusal = [&](const PromptEncoder& text, const std::string& dataset) -> std::string {
    try {
      auto plan = read_sweep(folder_ / "plan.toml", {"dataset.name=" + dataset});
      prepare_sweep(std::move(plan), text);
      return "";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  prepare();
  const std::string file = "(file='" + (folder_ / "letters.jsonl") + "')";
  EXPECT_THAT(refusal(nullptr, "jsonl" + file), HasSubstr("tokenizer = \"FILE\""));
  EXPECT_THAT(refusal(text_, "human_eval(file='" + (folder_ / "letters.jsonl") + "', python='/nowhere/python3')"), HasSubstr("no Python at '/nowhere/python3'"));
}

}  // namespace
}  // namespace canvaslab
