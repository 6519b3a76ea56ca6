// gpqa_lm_eval: searching the texts of options, case and punctuation aside.
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "core/text/utf8.h"
#include "eval/grading/choice.h"

namespace canvaslab::grading {
namespace {

/// Python's lower() and the removal of every character of category P. Final sigma needs its surroundings and stays a
/// plain small sigma here.
std::string plain_text(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const std::string_view bytes = text.substr(at, point.length);
    at += point.length;
    if (point.code < 0) {
      out.append(bytes);
      continue;
    }
    const auto category = utf8proc_category(point.code);
    if (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) continue;
    if (point.code == 0x130) out += "i\xCC\x87";  // the only capital whose lower case is two characters
    else append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(point.code)));
  }
  return out;
}

/// Marks where `word` begins in `text`, by Knuth, Morris and Pratt.
std::vector<bool> occurrences(std::string_view word, std::string_view text) {
  std::vector<bool> out(text.size());
  std::vector<size_t> border(word.size() + 1);
  for (size_t i = 1, k = 0; i < word.size(); ++i) {
    while (k && word[i] != word[k]) k = border[k];
    border[i + 1] = k += word[i] == word[k];
  }
  for (size_t i = 0, k = 0; i < text.size(); ++i) {
    while (k && (k == word.size() || text[i] != word[k])) k = border[k];
    k += text[i] == word[k];
    if (k == word.size()) out[i + 1 - k] = true;
  }
  return out;
}

/// The last of the matches that a left-to-right search without overlaps finds, the longest word first.
std::string last_match(std::vector<std::string> words, std::string_view text) {
  if (std::any_of(words.begin(), words.end(), [](const auto& word) { return word.empty(); })) return "";  // it matches at the end
  std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::vector<std::vector<bool>> begins;
  for (const auto& word : words) begins.push_back(occurrences(word, text));
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t w = 0;
    while (w < words.size() && !begins[w][at]) ++w;
    if (w < words.size()) out = words[w], at += words[w].size();
    else ++at;
  }
  return out;
}

}  // namespace

Extraction gpqa_lm_eval(std::string_view text, const std::vector<std::string>& options) {
  for (size_t i = text.size(); i-- > 2;)
    if (text[i] == ')' && text[i - 2] == '(' && text[i - 1] >= 'A' && text[i - 1] <= 'Z') return {std::string(text.substr(i - 2, 3)), "parenthesised"};
  std::map<std::string, std::string> letters;
  std::vector<std::string> words;
  for (size_t o = 0; o < options.size(); ++o) {
    words.push_back(plain_text(strip(options[o])));
    letters[words.back()] = fmt::format("({})", static_cast<char>('A' + o));  // of equal texts the last counts
  }
  const std::string found(strip(last_match(words, plain_text(text))));
  if (!found.empty()) {
    const auto named = letters.find(found);
    return {named == letters.end() ? found : named->second, "option_text"};
  }
  const char last = static_cast<char>('A' + options.size() - 1);
  for (size_t at = text.rfind(':'); at != std::string_view::npos; at = at ? text.rfind(':', at - 1) : std::string_view::npos) {
    const size_t i = skip_space(text, at + 1);
    if (i < text.size() && text[i] >= 'A' && text[i] <= last) return {fmt::format("({})", text[i]), "colon"};
  }
  return {};
}

}  // namespace canvaslab::grading
