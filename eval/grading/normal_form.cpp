#include "eval/grading/normal_form.h"

#include <utf8proc.h>

#include <vector>

#include "core/text/utf8.h"
#include "eval/grading/respelling.h"
#include "eval/grading/scan.h"

namespace canvaslab::grading {
namespace {

using std::string_view;

/// The first character, which may be several bytes.
string_view first_character(string_view text) { return text.substr(0, code_point_at(text, 0).length); }

/// Whether a text has at most `most` characters.
bool at_most(string_view text, size_t most) {
  for (; !text.empty(); --most, text.remove_prefix(first_character(text).size()))
    if (most == 0) return false;
  return true;
}

/// \sqrt3 becomes \sqrt{3}. Fails on a root at the end of the text.
bool brace_roots(std::string& text) {
  const auto parts = split(text, "\\sqrt");
  std::string out(parts[0]);
  out.reserve(text.size() + 2 * parts.size());
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty()) return false;
    const string_view first = first_character(parts[i]);
    out += "\\sqrt";
    if (first == "{") out.append(parts[i]);
    else out.append("{").append(first).append("}").append(parts[i].substr(first.size()));
  }
  text = std::move(out);
  return true;
}

/// \frac12 becomes \frac{1}{2}. Fails on a fraction at the end; a fraction with one character behind it leaves the text.
bool brace_fractions(std::string& text) {
  const auto parts = split(text, "\\frac");
  std::string out(parts[0]);
  out.reserve(text.size() + 4 * parts.size());
  for (size_t i = 1; i < parts.size(); ++i) {
    string_view part = parts[i];
    if (part.empty()) return false;
    out += "\\frac";
    if (part[0] == '{') {
      out.append(part);
      continue;
    }
    const string_view top = first_character(part);
    part.remove_prefix(top.size());
    if (part.empty()) return true;
    out.append("{").append(top).append("}");
    if (part[0] != '{') {
      const string_view bottom = first_character(part);
      part.remove_prefix(bottom.size());
      out.append("{").append(bottom).append("}");
    }
    out.append(part);
  }
  text = std::move(out);
  return true;
}

enum class Whole { kNone, kOther, kCanonical };

/// Whether Python's int() takes the text, and whether it writes it back the same.
Whole whole_number(string_view text) {
  text = strip(text);
  const bool minus = text.starts_with('-');
  bool canonical = !text.starts_with('+'), digit_before = false;
  if (minus || !canonical) text.remove_prefix(1);
  size_t digits = 0;
  const bool zero_first = text.starts_with('0');
  while (!text.empty()) {
    const CodePoint point = code_point_at(text, 0);
    const bool digit = point.code >= 0 && utf8proc_category(point.code) == UTF8PROC_CATEGORY_ND;
    if (!digit && (text[0] != '_' || !digit_before)) return Whole::kNone;
    canonical &= digit && point.length == 1;
    digits += digit;
    digit_before = digit;
    text.remove_prefix(point.length);
  }
  if (!digit_before || digits > 4300) return Whole::kNone;  // Python's limit on the digits of a whole number
  return canonical && !(zero_first && (digits > 1 || minus)) ? Whole::kCanonical : Whole::kOther;
}

/// a/b of whole numbers becomes \frac{a}{b}. Fails when there is one slash and something else beside it.
bool spell_quotient(std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || text.find('/', slash + 1) != std::string::npos) return true;
  const string_view parts[] = {string_view(text).substr(0, slash), string_view(text).substr(slash + 1)};
  const Whole top = whole_number(parts[0]), bottom = whole_number(parts[1]);
  if (top == Whole::kNone || bottom == Whole::kNone) return false;
  if (top == Whole::kCanonical && bottom == Whole::kCanonical) {
    const std::string out = std::string("\\frac{").append(parts[0]).append("}{").append(parts[1]).append("}");
    text = out;
  }
  return true;
}

}  // namespace

std::optional<std::string> math_normal_form(string_view given) {
  Respelling spelled{std::string(given)};
  spelled.drop("\n"), spelled.drop("\\!");
  spelled.replace("\\\\", "\\"), spelled.replace("tfrac", "frac"), spelled.replace("dfrac", "frac");
  for (string_view what : {"\\left", "\\right", "^{\\circ}", "^\\circ", "\\$"}) spelled.drop(what);
  if (spelled.may_hold("\\text{ ")) {
    const auto units = split(spelled.text(), "\\text{ ");
    if (units.size() > 2) return std::nullopt;
    if (units.size() == 2) spelled = Respelling(std::string(units[0]));
  }
  spelled.drop("\\%");
  spelled.replace(" .", " 0."), spelled.replace("{.", "{0.");
  const bool roots = spelled.may_hold("\\sqrt");
  std::string text = spelled.take();
  if (text.empty()) return text;
  if (text[0] == '.') text.insert(text.begin(), '0');
  if (const size_t sign = text.find('='); sign != std::string::npos && text.find('=', sign + 1) == std::string::npos && at_most(string_view(text).substr(0, sign), 2)) text.erase(0, sign + 1);
  if (roots && !brace_roots(text)) return std::nullopt;
  std::erase(text, ' ');
  if (text.find("\\frac") != std::string::npos && !brace_fractions(text)) return std::nullopt;  // also one that had blanks in it
  if (text == "0.5") text = "\\frac{1}{2}";
  if (!spell_quotient(text)) return std::nullopt;
  return text;
}

bool same_normal_form(string_view a, string_view b) {
  const auto left = math_normal_form(a), right = math_normal_form(b);
  return left && right ? *left == *right : a == b;
}

}  // namespace canvaslab::grading
