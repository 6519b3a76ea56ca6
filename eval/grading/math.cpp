#include "eval/grading/math.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "eval/grading/latex_value.h"
#include "eval/grading/normal_form.h"
#include "eval/grading/respelling.h"

namespace canvaslab::grading {
namespace {

using std::string_view;

char closing_letter(string_view text) {
  for (char c = 'A'; c <= 'E'; ++c)
    for (const std::string& form : {std::string{c}, std::string{'(', c, ')'}})
      if (text.ends_with(fmt::format(" {}.", form)) || text.starts_with(fmt::format("{}\n", form))) return c;
  return '\0';
}

bool is_decimal(string_view text) {
  text = strip(text);
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || text[0] == '+' || text[0] == '-') return false;
  double value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return end == text.data() + text.size() && error != std::errc::invalid_argument;
}

/// What stands behind the last of the closing phrases, up to the end of its sentence.
bool after_phrases(string_view& text) {
  bool found = false;
  text = strip(text);
  for (string_view phrase : {"he final answer is", "he answer is", "he correct answer is", "he answer should be"})
    for (string_view first : {"t", "T"}) {
      if (find_text(text, phrase) == string_view::npos) continue;
      const std::string flag = std::string(first).append(phrase);
      const size_t at = find_last_text(text, flag);
      if (at == string_view::npos) continue;
      text = strip(text.substr(at + flag.size()));
      found = true;
      text = text.substr(0, text.find('\n'));
      text = text.substr(0, text.find(". "));
    }
  return found;
}

std::string lower(string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

/// The content up to the last brace, cut at a brace that closes what was never opened.
string_view greedy_box(string_view text) {
  const size_t begin = text.find("oxed{"), end = text.rfind('}');
  if (begin != string_view::npos && end != string_view::npos && end >= begin + 5) text = text.substr(begin + 5, end - begin - 5);
  const size_t close = text.find('}'), open = text.find('{');
  if (close != string_view::npos && (open == string_view::npos || close < open)) text = text.substr(0, close);
  return text;
}

/// (a) to (e) without what encloses them.
std::string unwrapped_letters(string_view text, char open, char close) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool letter = text[i] == open && i + 2 < text.size() && text[i + 1] >= 'a' && text[i + 1] <= 'e' && text[i + 2] == close;
    out += letter ? text[i + 1] : text[i];
    if (letter) i += 2;
  }
  return out;
}

std::string clean(string_view given) {
  std::string text = replace_all(lower(given), "{}", "");
  text = std::string(after_last(after_last(greedy_box(text), "="), "\\approx"));
  std::erase(text, ' ');
  Respelling spelled(std::move(text));
  for (string_view what : {"\\,", "\n", "\\text", "\\mbox", "\\left", "\\right", "^{\\circ}", "^\\circ", "{m}^3", "m^3", "{units}", "units", "{km}", "km", "$"}) spelled.drop(what);
  const bool indexed_root = spelled.may_hold("\\sqrt[") && find_text(spelled.text(), "\\sqrt[") != string_view::npos;  // the normal form would tear \sqrt[3]{2}
  text = spelled.take();
  if (!indexed_root) text = math_normal_form(text).value_or(text);
  text = unwrapped_letters(unwrapped_letters(text, '(', ')'), '{', '}');
  while (text.ends_with('.')) text.pop_back();
  const string_view rest(text);
  return std::string(strip(rest.substr(std::min(rest.find_first_not_of(':'), rest.size()))));
}

/// Parts of a tuple or list at its commas outside brackets; empty when it is none.
std::vector<string_view> elements(string_view text) {
  std::vector<string_view> out;
  if (text.size() < 3 || !((text.front() == '(' && text.back() == ')') || (text.front() == '[' && text.back() == ']'))) return out;
  text = text.substr(1, text.size() - 2);
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
    if (depth < 0) return {};
    if (c == ',' && depth == 0) out.push_back(text.substr(begin, i - begin)), begin = i + 1;
  }
  if (out.empty()) return out;
  out.push_back(text.substr(begin));
  return out;
}

bool equal_in_any_case(string_view a, string_view b) {
  const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return low(x) == low(y); });
}

/// An answer that is compared with several references; its value is worked out once, and only when a reference has one.
class Answer {
 public:
  explicit Answer(string_view text) : text_(strip(text)) {}
  bool equals(string_view reference) {
    reference = strip(reference);
    if (text_.empty() || reference.empty()) return false;
    if (same(reference)) return true;
    const auto right = elements(reference);
    if (right.empty() || text_.front() != reference.front()) return false;
    const auto left = elements(text_);
    return left.size() == right.size() && std::equal(left.begin(), left.end(), right.begin(), [](string_view a, string_view b) { return Answer(a).same(strip(b)); });
  }

 private:
  bool same(string_view reference) {
    if (equal_in_any_case(text_, reference)) return true;
    const auto wanted = latex_value(reference);
    if (!wanted) return false;
    if (!value_) value_ = latex_value(text_);
    return *value_ && round_two(**value_) == round_two(*wanted);
  }
  string_view text_;
  std::optional<std::optional<double>> value_;
};

}  // namespace

Extraction math_vision_official(string_view given) {
  string_view text = strip(given);
  std::string_view rule = "whole_text";
  std::string held;
  if (const char c = closing_letter(text)) {
    held.assign(1, c);
    text = held;
    rule = "letter";
  }
  string_view number = after_last(text, "is ");
  while (number.ends_with('.')) number.remove_suffix(1);
  if (is_decimal(number)) {
    text = number;
    rule = "number";
  }
  if (const size_t last = find_last_text(text, "oxed{"); last == string_view::npos) {
    if (after_phrases(text)) rule = "phrase";
  } else {
    text = text.substr(last);
    rule = "boxed";
  }
  std::string out = clean(text);
  return out.empty() ? Extraction{} : Extraction{std::move(out), rule};
}

bool math_vision_equal(string_view answer, string_view reference) { return Answer(answer).equals(reference); }

bool math_vision_correct(string_view extracted, string_view reference, const std::vector<std::string>& options) {
  if (extracted.empty()) return false;
  Answer answer(extracted);
  const auto equal = [&](string_view gold) { return answer.equals(gold) || answer.equals(clean(gold)); };
  if (equal(reference)) return true;
  const std::string_view letter = strip(reference);
  const size_t option = letter.size() == 1 && letter[0] >= 'A' ? static_cast<size_t>(letter[0] - 'A') : options.size();
  return option < options.size() && equal(options[option]);
}

Extraction math_house(string_view text) {
  const Boxed box = last_boxed(text);
  if (!box.found) return math_vision_official(text);
  std::string out = clean(box.content);
  return out.empty() ? Extraction{} : Extraction{std::move(out), box.skipped_unbalanced ? "boxed_earlier" : "boxed"};
}

}  // namespace canvaslab::grading
