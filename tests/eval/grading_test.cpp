// The grading rules case by case, and the traps they were written for. Agreement with libraries: grading_oracle_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "eval/grading/answer.h"
#include "eval/grading/choice.h"
#include "eval/grading/integer.h"
#include "eval/grading/latex_value.h"
#include "eval/grading/math.h"
#include "eval/grading/option_order.h"

namespace canvaslab::grading {
namespace {

using ::testing::ElementsAre;

std::string shown(const Extraction& extraction) { return extraction.text + "/" + std::string(extraction.rule); }

TEST(MmluPro, TheChainHasItsKnownTraps) {
  EXPECT_EQ(shown(mmlu_pro_official("the answer is (C). No, the answer is (D).")), "C/answer_is") << "first, not last";
  EXPECT_EQ(shown(mmlu_pro_official_last("the answer is (C). No, the answer is (D).")), "D/answer_is");
  EXPECT_EQ(shown(mmlu_pro_official_last("Answer:\n\nAnswer: C")), "A/answer_colon") << "the second word's A is eaten by the first match";
  EXPECT_EQ(shown(mmlu_pro_official_last("Answer: B\nAnswer: C")), "C/answer_colon");
  EXPECT_EQ(shown(mmlu_pro_official("answer is Both")), "B/answer_is") << "no word boundary";
  EXPECT_EQ(shown(mmlu_pro_official("Answer: A, answer:\n\n B\nAnswer: C")), "B/answer_colon") << "last of the first line";
  EXPECT_EQ(shown(mmlu_pro_official("so I think")), "I/last_letter") << "the pronoun is an option";
  EXPECT_EQ(shown(mmlu_pro_official("none")), "/");
  EXPECT_EQ(shown(mmlu_pro_lm_eval("Answer: A")), "/");
}

TEST(MmluPro, OursTakesLettersThatStandAloneAndExist) {
  EXPECT_EQ(shown(mmlu_pro_house("The answer is (C). But the answer is Both", 4)), "C/answer_is");
  EXPECT_EQ(shown(mmlu_pro_house("The answer is (E). \\boxed{\\text{B}}", 4)), "B/boxed");
  EXPECT_EQ(shown(mmlu_pro_house("so\n**(D)**.", 4)), "D/final_line");
  EXPECT_EQ(shown(mmlu_pro_house("so I think", 10)), "/");
}

TEST(Gpqa, TheFourRulesInTheirOrder) {
  EXPECT_EQ(shown(gpqa_house("(A) ... answer is B ... Answer: C ... \\boxed{(D)}", 4)), "D/boxed");
  EXPECT_EQ(shown(gpqa_house("(A) ... answer is B ... **Answer:** C", 4)), "C/answer_colon");
  EXPECT_EQ(shown(gpqa_house("(A) ... the answer is B", 4)), "B/answer_is");
  EXPECT_EQ(shown(gpqa_house("(A) or (F)", 4)), "A/parenthesised");
  EXPECT_EQ(shown(gpqa_simple_evals("ANSWER : $b, Answer: C")), "b/answer_colon");
  EXPECT_EQ(shown(gpqa_lm_eval("it is na cl!", {"K", "Na-Cl", "na cl", "x"})), "(C)/option_text");
}

TEST(Fallback, CreditsNothingADrawOrItsExpectation) {
  EXPECT_EQ(fallback_score(Fallback::kNone, 1, 4, 1), 0);
  EXPECT_EQ(fallback_score(Fallback::kUniformSeeded, 1, 4, 1), 1);
  EXPECT_EQ(fallback_score(Fallback::kUniformSeeded, 1, 4, 2), 0);
  EXPECT_EQ(fallback_score(Fallback::kExpectedValue, 1, 4, 1), 0.25);
}

TEST(Aime, ReadsWholeNumbersAsTheyAreWritten) {
  for (const char* text : {"42", "042", "42.0", "$42$", "n = 42.", "42^\\circ", "\\text{about }42", " {42} ", "0042", "(42)"}) EXPECT_EQ(parse_whole(text), "42") << text;
  EXPECT_EQ(parse_whole("1,234"), "1234");
  EXPECT_EQ(parse_whole("1{,}234"), "1234");
  EXPECT_EQ(parse_whole("-7"), "-7");
  for (const char* text : {"", "1,2", "3/4", "4.5", "\\frac{84}{2}", "x", "--4", ","}) EXPECT_EQ(parse_whole(text), std::nullopt) << text;
}

TEST(Aime, TakesTheLastBalancedBoxElseTheLastNumber) {
  EXPECT_EQ(shown(aime_house("\\boxed{1} \\boxed{2}")), "2/boxed");
  EXPECT_EQ(shown(aime_house("\\boxed{\\boxed{3}}")), "3/boxed");
  EXPECT_EQ(shown(aime_house("\\boxed{1} then \\boxed{2")), "1/boxed_earlier");
  EXPECT_EQ(shown(aime_house("from 3/4 to 25, or 2.5")), "25/last_integer");
  EXPECT_EQ(shown(aime_house("3 or .5")), "3/last_integer") << "a decimal without its zero is no whole number";
  EXPECT_EQ(shown(aime_house("It is so.5")), "5/last_integer") << "a missing blank behind a sentence";
  EXPECT_EQ(shown(aime_house("no number")), "/");
  EXPECT_TRUE(aime_correct(aime_house("\\boxed{007}"), "7"));
  EXPECT_FALSE(aime_correct(aime_house("\\boxed{1000}"), "1000")) << "out of range";
  EXPECT_FALSE(aime_correct(aime_house("\\boxed{-7}"), "-7"));
  EXPECT_FALSE(aime_lm_eval_correct("\\boxed{007}", "7")) << "the published rule compares texts";
  EXPECT_TRUE(aime_lm_eval_correct("so $x=7$.", "7"));
}

TEST(MathVision, ComparesAtTwoDecimalsAsReferenceSays) {
  EXPECT_TRUE(math_vision_equal("0.333", "1/3"));
  EXPECT_TRUE(math_vision_equal("3.14159", "\\pi"));
  EXPECT_FALSE(math_vision_equal("3.15", "\\pi"));
  EXPECT_TRUE(math_vision_equal("(1, 2.001)", "(1,2)"));
  EXPECT_FALSE(math_vision_equal("(1,2)", "[1,2]"));
  EXPECT_FALSE(math_vision_equal("", ""));
  EXPECT_FALSE(math_vision_equal("1:2", "0.5")) << "ratios are texts";
  EXPECT_EQ(round_two(0.125), "0.12") << "half to even";
  EXPECT_EQ(round_two(2.675), "2.67") << "on the binary value";
  EXPECT_EQ(round_two(-0.001), "0.00");
}

TEST(MathVision, TakesALetterOrTheValueOfItsOption) {
  const std::vector<std::string> options = {"4", "6", "8", "10", "12"};
  for (const char* text : {"So it is (C).", "C\nbecause", "\\boxed{C}", "\\boxed{8}", "The answer is 8.", "the answer is \\frac{16}{2}"})
    EXPECT_TRUE(math_vision_correct(math_vision_official(text).text, "C", options)) << text << " -> " << math_vision_official(text).text;
  EXPECT_FALSE(math_vision_correct(math_vision_official("\\boxed{B}").text, "C", options));
  EXPECT_FALSE(math_vision_correct("", "C", options));
}

TEST(LatexValue, RefusesWhatItCannotReadAndEndlessNesting) {
  for (const char* text : {"", "x", "\\frac{1}", "1+", "(1", "1)", "1/0", "\\sqrt{-1}", "10^{10^{10}}", ".", "200!"}) EXPECT_EQ(latex_value(text), std::nullopt) << text;
  EXPECT_EQ(latex_value(std::string(100000, '(')), std::nullopt);
  EXPECT_EQ(latex_value("1,234"), 1234);
  EXPECT_EQ(latex_value("(1,234)"), std::nullopt) << "a pair";
  EXPECT_TRUE(math_vision_correct(math_house("\\boxed{\\sqrt[3]{8}}").text, "2", {}));
  EXPECT_EQ(latex_value("2\\frac{1}{2}"), 2.5);
  EXPECT_EQ(latex_value("-2^2"), -4);
}

/// A quadratic rule would need 1e11 steps or more for these; the suite's time limit would end it.
TEST(Grading, EveryRuleIsLinearInOneLongLine) {
  for (std::string_view piece : {"answer is ", "answer: ", "Answer:", "\\boxed{", "\\boxed ", "{", "}", "$", "((", "1,", "9", "1/", "\\frac", "\\sqrt{", " ", "I_", ":", "aaaa", "=", "is ", ". "}) {
    std::string text;
    while (text.size() < 500'000) text += piece;
    mmlu_pro_official(text), mmlu_pro_official_last(text), mmlu_pro_house(text, 10);
    gpqa_simple_evals(text), gpqa_house(text, 4), gpqa_lm_eval(text, {"aab", "aaab", "b", "c"});
    aime_house(text), aime_lm_eval_correct(text, "7");
    EXPECT_FALSE(math_vision_correct(math_vision_official(text).text, "7", {})) << piece;
    math_house(text);
  }
}

// --- thought and answer

const TextDecoder kDecoder{.decode =
                               [](std::span<const int32_t> ids) {
                                 std::string out;
                                 for (int32_t id : ids)
                                   if (id >= 10) out += id == 10 ? "thought" : std::string(1, static_cast<char>('a' + id - 11));
                                 return out;
                               },
                           .stop_ids = {1, 2},
                           .channel_open = 3,
                           .channel_close = 4};

TEST(SplitAnswer, CutsAtTheStopTokenAndBehindTheLastClosedChannel) {
  const auto split = [](std::vector<int32_t> ids) { return split_answer(ids, kDecoder); };
  const auto whole = split({3, 10, 11, 4, 12, 4, 13, 14, 1, 15});
  EXPECT_EQ(whole.thought, "ab");
  EXPECT_EQ(whole.answer, "cd");
  EXPECT_EQ(whole.num_thought_tokens, 4u);
  EXPECT_EQ(whole.num_answer_tokens, 2u);
  EXPECT_FALSE(whole.truncated || whole.thought_unclosed);
  const auto open = split({3, 10, 11, 12, 1});
  EXPECT_TRUE(open.thought_unclosed);
  EXPECT_FALSE(open.truncated);
  EXPECT_EQ(open.thought, "ab");
  EXPECT_EQ(open.answer, "");
  const auto again = split({3, 10, 11, 4, 12, 3, 10, 13});
  EXPECT_TRUE(again.thought_unclosed && again.truncated);
  EXPECT_EQ(split({11, 12, 2}).answer, "ab");
  EXPECT_EQ(split({3, 11, 4, 12, 2}).answer, "ab") << "another channel is no thought";
  EXPECT_TRUE(split({}).truncated);
  EXPECT_EQ(split({3}).answer, "");
  EXPECT_EQ(split({3, 10, 4, 1}).answer, "") << "an empty thought";
}

TEST(SplitAnswer, BlamesTheLostEndBeforeTheContent) {
  const auto judged = [](bool truncated, bool unclosed, bool correct, bool has_answer) {
    SplitAnswer split;
    split.truncated = truncated;
    split.thought_unclosed = unclosed;
    return verdict_of(split, correct, has_answer);
  };
  EXPECT_EQ(judged(true, false, true, true), Verdict::kCorrect);
  EXPECT_EQ(judged(true, true, false, false), Verdict::kTruncated);
  EXPECT_EQ(judged(false, true, false, false), Verdict::kThoughtUnclosed);
  EXPECT_EQ(judged(false, false, false, true), Verdict::kWrong);
  EXPECT_EQ(judged(false, false, false, false), Verdict::kNoAnswer);
  EXPECT_EQ(verdict_name(Verdict::kThoughtUnclosed), "thought_unclosed");
}

// --- option orders

TEST(PythonRandom, GivesTheRecordedValues) {
  PythonRandom zero(0);
  const std::vector<std::vector<size_t>> expected = {{3, 1, 0, 2}, {3, 1, 2, 0}, {2, 3, 0, 1}, {2, 0, 3, 1}, {1, 3, 0, 2}, {2, 1, 0, 3}};
  for (const auto& order : expected) EXPECT_EQ(zero.sample_all(4), order);
  PythonRandom seeded(12345);
  for (uint32_t value : {6, 0, 4, 5, 3, 4, 9, 6, 2, 5, 1, 6}) EXPECT_EQ(seeded.below(10), value);
  EXPECT_THAT(PythonRandom(1234).shuffled(4), ElementsAre(1, 2, 0, 3));
}

TEST(RotatedOrder, EveryOptionStandsOnceInEveryPlace) {
  std::vector<std::vector<bool>> seen(4, std::vector<bool>(4));
  for (uint32_t repeat = 0; repeat < 4; ++repeat) {
    const auto order = rotated_order(7, "rec1", repeat, 4);
    for (size_t place = 0; place < 4; ++place) seen[order[place]][place] = true;
  }
  for (const auto& places : seen) EXPECT_THAT(places, ::testing::Each(true));
  EXPECT_EQ(rotated_order(7, "rec1", 4, 4), rotated_order(7, "rec1", 0, 4));
  std::vector<int> first(4);
  for (int i = 0; i < 4000; ++i) ++first[rotated_order(7, std::to_string(i), 0, 4)[0]];
  for (int n : first) EXPECT_NEAR(n, 1000, 5 * std::sqrt(4000 * .25 * .75)) << "five standard errors, fixed seed";
}

}  // namespace
}  // namespace canvaslab::grading
