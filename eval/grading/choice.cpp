#include "eval/grading/choice.h"

#include <algorithm>

namespace canvaslab::grading {
namespace {

bool in_range(char c, char last) { return c >= 'A' && c <= last; }
Extraction letter(char c, std::string_view rule) { return {std::string(1, c), rule}; }

/// The letter behind "answer is " at byte `at`, or 0.
char letter_after_is(std::string_view text, size_t at, char last) {
  size_t i = at + std::string_view("answer is ").size();
  if (i < text.size() && text[i] == '(') ++i;
  return i < text.size() && in_range(text[i], last) ? text[i] : '\0';
}

Extraction answer_is(std::string_view text, bool take_last) {
  Extraction out;
  for (size_t at = text.find("answer is "); at != std::string_view::npos; at = text.find("answer is ", at + 1))
    if (const char c = letter_after_is(text, at, 'J')) {
      out = letter(c, "answer_is");
      if (!take_last) break;
    }
  return out;
}

/// Every match eats its line up to itself, so a line counts once: with its last match. The white space before the letter
/// may reach over line ends, and the letter may be the first of the next line's "Answer:", which then counts no more.
Extraction answer_colon(std::string_view text, bool take_last) {
  Extraction out;
  size_t line_of_match = std::string_view::npos, line = 0;
  size_t scanned = 0, eaten = 0, end_of_match = 0;  // eaten: by matches of earlier lines
  for (size_t at = text.find("nswer:"); at != std::string_view::npos; at = text.find("nswer:", at + 1)) {
    if (at == 0 || (text[at - 1] != 'a' && text[at - 1] != 'A')) continue;
    for (; scanned < at; ++scanned)
      if (text[scanned] == '\n') line = scanned + 1;
    if (!take_last && out.found() && line != line_of_match) break;
    if (line != line_of_match) eaten = end_of_match;
    const size_t i = skip_space(text, at + 6);
    if (at - 1 < eaten || i >= text.size() || !in_range(text[i], 'J')) continue;
    out = letter(text[i], "answer_colon");
    line_of_match = line, end_of_match = i + 1;
  }
  return out;
}

Extraction last_letter(std::string_view text, char last) {
  for (size_t i = text.size(); i-- > 0;)
    if (in_range(text[i], last) && !word_before(text, i) && !word_at(text, i + 1)) return letter(text[i], "last_letter");
  return {};
}

Extraction mmlu_pro_chain(std::string_view text, bool take_last) {
  if (auto out = answer_is(text, take_last); out.found()) return out;
  if (auto out = answer_colon(text, take_last); out.found()) return out;
  return last_letter(text, 'J');
}

/// The one letter that a text consists of once wrappers are taken off; 0 when there is more than a letter.
char lone_letter(std::string_view text, char last) {
  for (bool changed = true; changed;) {
    changed = false;
    text = strip(text);
    const auto unwrap = [&](std::string_view before, std::string_view after) {
      if (text.size() < before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return;
      text = text.substr(before.size(), text.size() - before.size() - after.size());
      changed = true;
    };
    for (std::string_view name : {"\\text{", "\\textbf{", "\\mathbf{", "\\mathrm{", "\\mathbf {", "{"}) unwrap(name, "}");
    unwrap("(", ")"), unwrap("**", "**"), unwrap("$", "$"), unwrap("", ".");
  }
  return text.size() == 1 && in_range(text[0], last) ? text[0] : '\0';
}

char last_option(size_t num_options) { return static_cast<char>('A' + (num_options == 0 ? 26 : std::min<size_t>(num_options, 26)) - 1); }

Extraction boxed_letter(std::string_view text, char last) {
  const Boxed box = last_boxed(text);
  const char c = box.found ? lone_letter(box.content, last) : '\0';
  return c ? letter(c, "boxed") : Extraction{};
}

Extraction last_answer_is(std::string_view text, char last) {
  const std::string plain = replace_all(text, "**", "");
  for (size_t at = plain.rfind("answer is "); at != std::string::npos; at = at ? plain.rfind("answer is ", at - 1) : std::string::npos) {
    const char c = letter_after_is(plain, at, last);
    const size_t after = at + 11 + (plain[at + 10] == '(');
    if (c && !word_at(plain, after)) return letter(c, "answer_is");
  }
  return {};
}

bool equal_ignoring_case(char a, char lower) { return a == lower || a == lower - 32; }

/// Length of "answer" in any case at byte `at`, or 0. The long s counts as an s, as it does in Python.
size_t answer_word(std::string_view text, size_t at) {
  const size_t begin = at;
  for (char wanted : std::string_view("answer")) {
    if (at < text.size() && equal_ignoring_case(text[at], wanted)) ++at;
    else if (wanted == 's' && text.compare(at, 2, "\xC5\xBF") == 0) at += 2;
    else return 0;
  }
  return at - begin;
}

/// The letter of "Answer : $X" at byte `at` as it is written, or 0.
char simple_evals_letter(std::string_view text, size_t at) {
  const size_t word = answer_word(text, at);
  if (!word) return '\0';
  const auto blanks = [&](size_t i) {
    while (i < text.size() && (text[i] == ' ' || text[i] == '\t')) ++i;
    return i;
  };
  size_t i = blanks(at + word);
  if (i >= text.size() || text[i] != ':') return '\0';
  i = blanks(i + 1);
  if (i < text.size() && text[i] == '$') ++i;
  return i < text.size() && in_range(static_cast<char>(text[i] & ~32), 'D') && text[i] >= 'A' ? text[i] : '\0';
}

}  // namespace

Extraction mmlu_pro_official(std::string_view text) { return mmlu_pro_chain(text, false); }
Extraction mmlu_pro_official_last(std::string_view text) { return mmlu_pro_chain(text, true); }
Extraction mmlu_pro_lm_eval(std::string_view text) { return answer_is(text, false); }

Extraction mmlu_pro_house(std::string_view text, size_t num_options) {
  const char last = last_option(num_options);
  if (auto out = last_answer_is(text, last); out.found()) return out;
  if (auto out = boxed_letter(text, last); out.found()) return out;
  const std::string_view line = after_last(strip(text), "\n");
  const char c = lone_letter(line, last);
  return c ? letter(c, "final_line") : Extraction{};
}

Extraction gpqa_simple_evals(std::string_view text) {
  for (size_t at = text.find_first_of("aA"); at != std::string_view::npos; at = text.find_first_of("aA", at + 1))
    if (const char c = simple_evals_letter(text, at)) return letter(c, "answer_colon");
  return {};
}

Extraction gpqa_house(std::string_view text, size_t num_options) {
  const char last = last_option(num_options);
  if (auto out = boxed_letter(text, last); out.found()) return out;
  const std::string plain = replace_all(text, "**", "");
  for (size_t at = plain.rfind("nswer:"); at != std::string::npos && at > 0; at = plain.rfind("nswer:", at - 1)) {
    if (plain[at - 1] != 'a' && plain[at - 1] != 'A') continue;
    size_t i = skip_space(plain, at + 6);
    while (i < plain.size() && (plain[i] == '(' || plain[i] == '$')) ++i;
    if (i < plain.size() && in_range(plain[i], last) && !word_at(plain, i + 1)) return letter(plain[i], "answer_colon");
  }
  if (auto out = last_answer_is(text, last); out.found()) return out;
  for (size_t i = text.size(); i-- > 2;)
    if (text[i] == ')' && text[i - 2] == '(' && in_range(text[i - 1], last)) return letter(text[i - 1], "parenthesised");
  return {};
}

double fallback_score(Fallback fallback, size_t gold_index, size_t num_options, size_t draw) {
  if (fallback == Fallback::kNone || num_options == 0) return 0;
  if (fallback == Fallback::kExpectedValue) return 1.0 / static_cast<double>(num_options);
  return draw == gold_index ? 1 : 0;
}

}  // namespace canvaslab::grading
