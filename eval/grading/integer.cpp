#include "eval/grading/integer.h"

#include <algorithm>

#include "eval/grading/normal_form.h"

namespace canvaslab::grading {
namespace {

using std::string_view;
bool digit(char c) { return c >= '0' && c <= '9'; }

/// Drops \text{...} and \mathrm{...} with what they hold.
std::string without_text(string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t name = 0;
    for (string_view macro : {"\\text{", "\\mathrm{", "\\textrm{"})
      if (text.compare(i, macro.size(), macro) == 0) name = macro.size();
    if (!name) {
      out += text[i++];
      continue;
    }
    size_t depth = 1;
    for (i += name; i < text.size() && depth; ++i) depth += (text[i] == '{') - (text[i] == '}');
  }
  return out;
}

/// Takes commas out of 1,234,567; nothing when they stand elsewhere.
std::optional<std::string> without_commas(string_view text) {
  std::string out;
  size_t run = 0;  // digits since the last comma
  bool seen = false;
  for (char c : text) {
    if (c == ',') {
      if (run == 0 || run > 3 || (seen && run != 3)) return std::nullopt;
      seen = true;
      run = 0;
      continue;
    }
    if (!digit(c) && seen && run != 3) return std::nullopt;
    run = digit(c) ? run + 1 : 0;
    if (!digit(c)) seen = false;
    out += c;
  }
  if (seen && run != 3) return std::nullopt;
  return out;
}

/// A sign, digits, and a fraction of zeros.
std::optional<std::string> plain_whole(string_view text) {
  bool minus = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    minus = text[0] == '-';
    text.remove_prefix(1);
  }
  const size_t end = std::min(text.find('.'), text.size());
  const string_view digits = text.substr(0, end), zeros = text.substr(std::min(end + 1, text.size()));
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), digit)) return std::nullopt;
  if (zeros.find_first_not_of('0') != string_view::npos) return std::nullopt;
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  const std::string out(digits.substr(first));
  return minus && out != "0" ? "-" + out : out;
}

/// The last number of the text that is whole; digits beside a slash or behind a leading point are parts of other numbers.
Extraction last_integer(string_view text) {
  for (size_t end = text.size(); end > 0;) {
    if (!digit(text[end - 1])) {
      --end;
      continue;
    }
    size_t begin = end - 1;
    while (begin > 0 && (digit(text[begin - 1]) || ((text[begin - 1] == '.' || text[begin - 1] == ',') && begin > 1 && digit(text[begin - 2])))) --begin;
    const bool decimal = begin > 0 && text[begin - 1] == '.' && !word_before(text, begin - 1);  // .5
    const bool part = decimal || (end < text.size() && text[end] == '/') || (begin > 0 && text[begin - 1] == '/');
    const bool minus = begin > 0 && text[begin - 1] == '-' && !word_before(text, begin - 1);
    const auto number = part ? std::nullopt : parse_whole(text.substr(begin - minus, end - begin + minus));
    if (number) return {*number, "last_integer"};
    // "3, 4" has a blank, but "(3,4)" reads as one number that is none: then its last part counts.
    const size_t comma = text.substr(begin, end - begin).rfind(',');
    if (!part && comma != string_view::npos)
      if (const auto last = parse_whole(text.substr(begin + comma + 1, end - begin - comma - 1))) return {*last, "last_integer"};
    end = begin;
  }
  return {};
}

}  // namespace

std::optional<std::string> parse_whole(string_view given) {
  std::string text = without_text(given);
  for (string_view what : {"\\left", "\\right", "\\,", "\\!", "\\;", "\\:", "\\ ", "\\$", "$", "^{\\circ}", "^\\circ", "\\degree", "*"}) text = replace_all(text, what, "");
  text = replace_all(text, "{,}", ",");
  std::string compact;
  for (size_t i = 0; i < text.size();) {
    const size_t next = skip_space(text, i);
    if (next == i) compact += text[i++];
    else i = next;
  }
  string_view rest = after_last(compact, "=");
  while (rest.ends_with('.')) rest.remove_suffix(1);
  while (rest.size() > 2 && ((rest.starts_with('{') && rest.ends_with('}')) || (rest.starts_with('(') && rest.ends_with(')')))) rest = rest.substr(1, rest.size() - 2);
  const auto plain = without_commas(rest);
  return plain ? plain_whole(*plain) : std::nullopt;
}

Extraction aime_house(string_view text) {
  const Boxed box = last_boxed(text);
  if (!box.found) return last_integer(text);
  const auto number = parse_whole(box.content);
  return {number ? *number : std::string(box.content), box.skipped_unbalanced ? "boxed_earlier" : "boxed"};
}

bool aime_correct(const Extraction& extraction, string_view reference) {
  const auto got = parse_whole(extraction.text), gold = parse_whole(reference);
  return extraction.found() && got && gold && *got == *gold && got->size() <= 3 && got->front() != '-';
}

Extraction aime_lm_eval(string_view text) {
  const size_t first = text.find('$'), last = text.rfind('$');
  Extraction out = first == last ? Extraction{std::string(text), "whole_text"} : Extraction{std::string(text.substr(first + 1, last - first - 1)), "dollars"};
  if (const size_t blank = text.rfind("\\boxed "); blank != string_view::npos) {  // the form without braces goes before any other
    const string_view rest = text.substr(blank + 7);
    return {std::string(rest.substr(0, rest.find('$'))), "boxed"};
  }
  const size_t begin = text.rfind("\\boxed");
  if (begin == string_view::npos || text.compare(begin, 7, "\\boxed{") != 0) return out;  // \fbox is found, then refused
  size_t depth = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    depth += text[i] == '{';
    if (text[i] == '}' && --depth == 0) return {std::string(text.substr(begin + 7, i - begin - 7)), "boxed"};
  }
  return out;
}

bool aime_lm_eval_correct(string_view text, string_view reference) { return same_normal_form(aime_lm_eval(text).text, reference); }

}  // namespace canvaslab::grading
