// Our graders against lm-eval 0.4.13 and math-verify 0.9.0 on adversarial answers: recorded ones, and fresh ones when
// CANVASLAB_GRADING_PYTHON names a Python that has both (grading_oracle.py).
//
// Agreement is exact but for these differences, each recognised by its cause and counted:
//   sigma      lower-case capital sigma depends on its place in Python; options that hold one may be missed
//   no_box     AIME without a box: we take the last whole number (checked here by a pattern), math-verify an expression
//   expression AIME: the box holds digits and more (84/2, 5%, 0-0), which we refuse and math-verify computes
//   no_digit   AIME: the box holds no digit, so that we find no number; math-verify then reads the rest of the text
//   boxes      AIME with several boxes: we take the last, math-verify all of them as one answer
//   dressed    AIME: the one box holds the number with a unit, something equal to it or a full stop (n = 5, 5^{\circ}, \text{cm}5, 42.), which we take and math-verify reads otherwise
//   listed     MATH-Vision: x=1,359 is a number with a thousands comma to us, a list to math-verify
//   percent    MATH-Vision drops a percent sign, math-verify divides by 100
//   rounded    MATH-Vision compares at two decimals, math-verify exactly or at six
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <sstream>

#include "eval/grading/choice.h"
#include "eval/grading/integer.h"
#include "eval/grading/latex_value.h"
#include "eval/grading/math.h"
#include "tests/support/temporary.h"

namespace canvaslab::grading {
namespace {

using Json = nlohmann::json;

/// What an answer's comparison found: nothing, an explained difference, or a mistake.
struct Comparison {
  std::string mistake;
  std::map<std::string, int>& explained;
  void expect(const std::string& what, const std::string& got, const std::string& wanted) {
    if (got != wanted) mistake += fmt::format("{}: got '{}', the oracle has '{}'; ", what, got, wanted);
  }
};

std::string or_invalid(const Extraction& extraction) { return extraction.found() ? extraction.text : "[invalid]"; }

void compare_ten(const Json& line, Comparison& out) {
  const std::string text = line["text"];
  out.expect("lm_eval", or_invalid(mmlu_pro_lm_eval(text)), line["lm_eval"]);
  out.expect("official", mmlu_pro_official(text).text, line["official"]);
  out.expect("official_last", mmlu_pro_official_last(text).text, line["official_last"]);
}

void compare_four(const Json& line, Comparison& out) {
  const std::string text = line["text"];
  const auto options = line["options"].get<std::vector<std::string>>();
  const std::string got = or_invalid(gpqa_lm_eval(text, options));
  std::string all = text;
  for (const auto& option : options) all += option;
  if (got != line["lm_eval"] && all.find("\u03a3") != std::string::npos) ++out.explained["sigma"];
  else out.expect("lm_eval", got, line["lm_eval"]);
  out.expect("simple_evals", gpqa_simple_evals(text).text, line["simple_evals"]);
}

/// The last whole number of a text, found by a pattern; "" for none.
std::string last_whole_by_pattern(const std::string& text) {
  static const std::regex number(R"((^|[^0-9.,])(\.)?([0-9]+(?:[.,][0-9]+)*))");
  std::string last;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), number); match != std::sregex_iterator(); ++match) {
    const std::string before = (*match)[1], digits = (*match)[3];
    const auto byte = static_cast<unsigned char>(before.empty() ? ' ' : before[0]);
    const bool point = (*match)[2].matched && !std::isalnum(byte) && byte < 0x80;  // behind a word of any alphabet it ends a sentence
    if (point || before == "/" || match->suffix().str().starts_with("/")) continue;
    if (const auto whole = parse_whole(digits)) last = *whole;
    else if (const auto part = parse_whole(digits.substr(digits.rfind(',') + 1)); part && digits.find(',') != std::string::npos) last = *part;
  }
  return last;
}

/// Whether the text's one box holds a whole number and beside it nothing but a unit, a sign, a variable or a full stop.
bool is_dressed(const std::string& text) {
  static const std::regex box(R"(\\f?boxe?d?\{((?:[^{}]|\{[^{}]*\})*)\})"), dress(R"(\\text\{[A-Za-z ]*\}|^\+|\\%|^.*=|\^\{?\\circ\}?|\.\s*$|\s)"), whole("[0-9]+");
  std::smatch found;
  if (!std::regex_search(text, found, box)) return false;
  const std::string inside = found[1];
  std::string bare = std::regex_replace(inside, dress, "");
  if (bare.starts_with('+')) bare.erase(0, 1);  // behind a unit
  return bare != inside && std::regex_match(bare, whole);
}

/// Why our verdict on a whole number may differ from math-verify's; "" when it may not.
std::string cause_of_difference(const std::string& text, const Extraction& house, bool ours) {
  const auto has = [](const std::string& where, const char* characters) { return where.find_first_of(characters) != std::string::npos; };
  if (!house.rule.starts_with("boxed")) {
    const std::string last = last_whole_by_pattern(text);
    return house.text == last || house.text == "-" + last ? "no_box" : "";
  }
  size_t boxes = 0;
  for (const char* box : {"\\boxed{", "\\fbox{"})
    for (size_t at = text.find(box); at != std::string::npos; at = text.find(box, at + 1)) ++boxes;
  if (ours) return boxes > 1 ? "boxes" : is_dressed(text) ? "dressed" : "";
  if (parse_whole(house.text)) return "";
  return has(house.text, "0123456789") ? "expression" : "no_digit";
}

void compare_whole(const Json& line, Comparison& out) {
  const std::string text = line["text"], gold = line["gold"];
  out.expect("lm_eval", std::to_string(aime_lm_eval_correct(text, gold)), std::to_string(line["lm_eval"].get<int>()));
  const Extraction house = aime_house(text);
  const bool ours = aime_correct(house, gold), theirs = line["math_verify"];
  if (ours == theirs) return;
  const std::string cause = cause_of_difference(text, house, ours);
  if (!cause.empty()) ++out.explained[cause];
  else out.expect("math_verify", ours ? "correct" : "wrong", theirs ? "correct" : "wrong");
}

void compare_values(const std::string& text, const Json& wanted, Comparison& out) {
  const auto value = latex_value(text);
  if (!value || wanted.is_null()) {
    if (value.has_value() == wanted.is_null()) out.expect("value of " + text, value ? fmt::format("{}", *value) : "none", wanted.dump());
    return;
  }
  // Both evaluate in doubles or better; a few operations of relative error 1e-16 each, times a cancellation of 1e3.
  const double gap = std::abs(*value - wanted.get<double>());
  if (!(gap <= 1e-12 * std::max(1.0, std::abs(*value)))) out.expect("value of " + text, fmt::format("{:.17g}", *value), wanted.dump());
}

void compare_math(const Json& line, Comparison& out) {
  const std::string gold = line["gold"], answer = line["answer"];
  compare_values(gold, line["value_gold"], out);
  if (!answer.starts_with("x=")) compare_values(answer, line["value_answer"], out);
  const Extraction extraction = math_house("\\boxed{" + answer + "}");
  const bool ours = math_vision_correct(extraction.text, gold, {}), theirs = line["math_verify"];
  if (ours == theirs) return;
  const Json &a = line["value_gold"], &b = line["value_answer"];
  if (ours && !a.is_null() && !b.is_null() && round_two(a) == round_two(b)) ++out.explained["rounded"];
  else if (ours && (gold + answer).find('%') != std::string::npos) ++out.explained["percent"];
  else if (ours && answer.starts_with("x=") && answer.find(',') != std::string::npos) ++out.explained["listed"];
  else out.expect("math_verify", ours ? "equal" : "different", theirs ? "equal" : "different");
}

std::string compare(const Json& line, std::map<std::string, int>& explained) {
  Comparison out{.mistake = "", .explained = explained};
  const std::string kind = line["kind"];
  if (kind == "ten") compare_ten(line, out);
  else if (kind == "four") compare_four(line, out);
  else if (kind == "whole") compare_whole(line, out);
  else if (kind == "math") compare_math(line, out);
  else out.mistake = "unknown kind";
  return out.mistake;
}

/// Returns how many differences had which cause.
std::map<std::string, int> compare_all(const std::string& lines, size_t least, std::map<std::string, int>* counted = nullptr) {
  std::istringstream in(lines);
  std::map<std::string, int> kinds, explained;
  size_t count = 0, mistakes = 0;
  for (std::string line; std::getline(in, line); ++count) {
    const Json object = Json::parse(line);
    ++kinds[object["kind"]];
    const std::string mistake = compare(object, explained);
    if (!mistake.empty() && ++mistakes <= 20) ADD_FAILURE() << "line " << count + 1 << ": " << mistake << "\n  " << line;
  }
  EXPECT_EQ(mistakes, 0u);
  EXPECT_GE(count, least);
  if (counted) *counted = kinds;
  for (const auto& [kind, n] : kinds) std::printf("%s: %d\n", kind.c_str(), n);
  for (const auto& [cause, n] : explained) std::printf("explained, %s: %d\n", cause.c_str(), n);
  return explained;
}

TEST(GradingOracle, RecordedAnswersAreGradedAsTheLibrariesGradeThem) {
  const auto recorded = shell("gzip -dc '" CANVASLAB_SOURCE_DIR "/tests/fixtures/grading/oracle.jsonl.gz'");
  ASSERT_EQ(recorded.exit_code, 0) << recorded.output;
  // Every difference on record, by its cause (see the head of this file).
  const std::map<std::string, int> table = {{"boxes", 21}, {"expression", 7}, {"no_box", 32}, {"no_digit", 1}, {"rounded", 70}, {"sigma", 2}};
  EXPECT_EQ(compare_all(recorded.output, 4000), table);
}

TEST(GradingOracle, FreshAnswersAreToo) {
  const char* python = std::getenv("CANVASLAB_GRADING_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_GRADING_PYTHON names no Python with lm-eval 0.4.13 and math-verify 0.9.0";
  const char* given = std::getenv("CANVASLAB_GRADING_SEED");
  const uint32_t seed = given ? static_cast<uint32_t>(std::atol(given)) : std::random_device()() % 1000000u;
  std::printf("seed %u (CANVASLAB_GRADING_SEED repeats it)\n", seed);
  const auto fresh = shell(fmt::format("'{}' -W ignore '{}/tests/eval/grading_oracle.py' {} 2000", python, CANVASLAB_SOURCE_DIR, seed));
  ASSERT_EQ(fresh.exit_code, 0) << fresh.output;
  compare_all(fresh.output, 2000);
}

/// Why the stored verdict or extraction of a real AIME answer is not ours; "" when it is ours, "unexplained" for a mistake of ours.
///   equation  the box holds an equation (n=104), after whose last sign we read; the stored rule reads boxes that start with a digit
///   fraction  the box holds a fraction, which the stored rule does not extract; the verdict is the same
std::string stored_difference(const Json& line) {
  const std::string text = line["text"], gold = line["gold"], stored = line["stored_answer"];
  const Extraction house = aime_house(text);
  const bool ours = aime_correct(house, gold), theirs = line["stored"];
  const std::string box = text.substr(std::min(text.size(), text.rfind("\\boxed{")));
  const std::string inside = box.substr(0, box.find("}"));
  if (ours != theirs) return ours && stored == "None" && inside.find('=') != std::string::npos ? "equation" : "unexplained";
  if (stored == (house.rule.starts_with("boxed") ? house.text : "None")) return "";
  return stored == "None" && inside.find("\\frac") != std::string::npos ? "fraction" : "unexplained";
}

/// The table results/tables/grading_agreement.md.
std::string agreement_table(const std::map<std::string, int>& kinds, const std::map<std::string, int>& explained, const std::map<std::string, int>& stored, size_t languages) {
  const auto listed = [](const std::map<std::string, int>& causes) {
    std::string out;
    for (const auto& [cause, count] : causes) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, cause);
    return out.empty() ? std::string("none") : out;
  };
  std::string out =
      "# Our graders on real answers and real questions\n\n"
      "Made by `CANVASLAB_GRADING_PYTHON=PYTHON CANVASLAB_GRADING_PACKAGES=FOLDER CANVASLAB_WRITE_AGREEMENT=results/tables/grading_agreement.md build/eval_tests --gtest_filter='GradingOracle.Real*'`\n"
      "(tests/eval/real_answers.py says what PYTHON and FOLDER hold). Every difference is recognised by its cause; one without a cause fails the test.\n\n| answers | compared with | differences |\n|---|---|---|\n";
  out += fmt::format("| {} of a language model (gpt-oss-120b, high effort) to 30 AIME 2025 problems, llama_cpp_python 0.3.36 | verdicts and extractions stored with them | {} |\n", kinds.at("whole"), listed(stored));
  out += "| the same | lm-eval 0.4.13 (our rule of that name), math-verify 0.9.0 (our house rule) | " + listed(explained) + " |\n";
  out += fmt::format("| {} to exam questions in {} languages, evals 3.0.1.post1 | MMLU-Pro: lm-eval's filter, the benchmark's three rules run by Python's re | none |\n", kinds.at("ten"), languages);
  out += fmt::format("| {} to such questions | GPQA: lm-eval's flexible-extract, simple-evals' rule run by Python's re | none |\n", kinds.at("four"));
  return out + "\n- equation: the box holds an equation, `\\boxed{n=104}`; we (and math-verify) read what follows its last sign, and the answer is right. The stored rule reads a box that starts with a digit, finds nothing, and counts it wrong.\n"
               "- fraction: the box holds `\\frac{..}{..}`; the stored rule extracts nothing, ours the fraction. Both count it wrong.\n"
               "\nOn 4,000 adversarial answers (tests/fixtures/grading, recorded) 133 differences from the libraries have their causes at the head of tests/eval/grading_oracle_test.cpp.\n";
}

TEST(GradingOracle, RealAnswersAreGradedAsTheyWereAndAsTheLibrariesGradeThem) {
  const char *python = std::getenv("CANVASLAB_GRADING_PYTHON"), *packages = std::getenv("CANVASLAB_GRADING_PACKAGES"), *table = std::getenv("CANVASLAB_WRITE_AGREEMENT");
  if (!python || !packages)
    GTEST_SKIP() << "left out: CANVASLAB_GRADING_PYTHON names no Python with lm-eval 0.4.13 and math-verify 0.9.0, or CANVASLAB_GRADING_PACKAGES no folder with the packages that real_answers.py names";
  const auto lines = shell(fmt::format("'{}' -W ignore '{}/tests/eval/real_answers.py' '{}' 20261128 3000", python, CANVASLAB_SOURCE_DIR, packages));
  ASSERT_EQ(lines.exit_code, 0) << lines.output;
  std::map<std::string, int> kinds, stored;
  std::set<std::string> languages;
  const auto explained = compare_all(lines.output, 6240, &kinds);
  std::istringstream in(lines.output);
  for (std::string line; std::getline(in, line);) {
    const Json object = Json::parse(line);
    if (object.contains("language")) languages.insert(object["language"].get<std::string>());
    if (!object.contains("stored")) continue;
    const std::string cause = stored_difference(object);
    if (!cause.empty()) ++stored[cause];
  }
  EXPECT_EQ(kinds["whole"], 240);
  EXPECT_GE(languages.size(), 12u);
  EXPECT_TRUE(explained.empty());
  EXPECT_EQ(stored, (std::map<std::string, int>{{"equation", 3}, {"fraction", 1}}));
  if (table) std::ofstream(table) << agreement_table(kinds, explained, stored, languages.size());
}

TEST(GradingOracle, TheComparisonSeesAWrongVerdictOfEveryKind) {
  std::map<std::string, int> explained;
  for (const char* line : {R"j({"kind":"ten","text":"answer is (B)","lm_eval":"C","official":"B","official_last":"B"})j",
                           R"j({"kind":"ten","text":"answer is (B)","lm_eval":"B","official":"B","official_last":""})j",
                           R"j({"kind":"four","text":"(B)","options":["a","b","c","d"],"lm_eval":"(A)","simple_evals":""})j",
                           R"j({"kind":"four","text":"(B)","options":["a","b","c","d"],"lm_eval":"(B)","simple_evals":"B"})j",
                           R"j({"kind":"whole","text":"\\boxed{42}","gold":"42","lm_eval":0,"math_verify":true})j",
                           R"j({"kind":"math","gold":"1","answer":"1","value_gold":1,"value_answer":2,"math_verify":true})j",
                           R"j({"kind":"math","gold":"1","answer":"2","value_gold":1,"value_answer":2,"math_verify":true})j"})
    EXPECT_NE(compare(Json::parse(line), explained), "") << line;
  EXPECT_TRUE(explained.empty());
  const auto stored = [](const char* text, bool verdict, const char* extraction) { return stored_difference(Json{{"kind", "whole"}, {"text", text}, {"gold", "42"}, {"stored", verdict}, {"stored_answer", extraction}}); };
  EXPECT_EQ(stored("\\boxed{42}", true, "42"), "");
  EXPECT_EQ(stored("\\boxed{42}", false, "42"), "unexplained");
  EXPECT_EQ(stored("\\boxed{42}", true, "41"), "unexplained");
  EXPECT_EQ(stored("\\boxed{n=42}", false, "None"), "equation");
}

}  // namespace
}  // namespace canvaslab::grading
