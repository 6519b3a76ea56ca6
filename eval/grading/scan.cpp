#include "eval/grading/scan.h"

#include <cstring>

#include <utf8proc.h>

#include <vector>

#include "core/text/utf8.h"

namespace canvaslab::grading {

bool is_python_space(int32_t code) { return (code >= 0x1c && code <= 0x1f) || (code >= 0 && is_white_space(code)); }

bool is_python_word(int32_t code) {
  if (code < 0) return false;
  if (code < 0x80) return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || code == '_';
  const auto category = utf8proc_category(code);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) || (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool word_at(std::string_view text, size_t at) { return at < text.size() && is_python_word(code_point_at(text, at).code); }

bool word_before(std::string_view text, size_t at) {
  size_t begin = at;
  while (begin > 0 && at - begin < 4) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  return begin < at && is_python_word(code_point_at(text, begin).code);
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint point = code_point_at(text, at);
    if (!is_python_space(point.code)) break;
    at += point.length;
  }
  return at;
}

std::string_view strip(std::string_view text) {
  text.remove_prefix(skip_space(text, 0));
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const CodePoint point = code_point_at(text, begin);
    if (begin + point.length != text.size() || !is_python_space(point.code)) break;
    text = text.substr(0, begin);
  }
  return text;
}

size_t find_text(std::string_view text, std::string_view what, size_t at) {
  if (at >= text.size()) return std::string_view::npos;
  const void* const found = ::memmem(text.data() + at, text.size() - at, what.data(), what.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

size_t find_last_text(std::string_view text, std::string_view what) {
  size_t last = std::string_view::npos;
  for (size_t at = find_text(text, what); at != std::string_view::npos; at = find_text(text, what, at + 1)) last = at;
  return last;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  for (size_t next; (next = find_text(text, from, at)) != std::string_view::npos; at = next + from.size()) {
    out.append(text.substr(at, next - at));
    out.append(to);
  }
  out.append(text.substr(at));
  return out;
}

std::vector<std::string_view> split(std::string_view text, std::string_view mark) {
  std::vector<std::string_view> out;
  size_t at = 0;
  for (size_t next; (next = text.find(mark, at)) != std::string_view::npos; at = next + mark.size()) out.push_back(text.substr(at, next - at));
  out.push_back(text.substr(at));
  return out;
}

std::string_view after_last(std::string_view text, std::string_view mark) {
  const size_t at = find_last_text(text, mark);
  return at == std::string_view::npos ? text : text.substr(at + mark.size());
}

Boxed last_boxed(std::string_view text) {
  constexpr size_t kPlain = SIZE_MAX;
  std::vector<size_t> open;  // per open brace: where the box's content begins, or kPlain
  Boxed out;
  size_t best = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      size_t name = 0;
      if (text.compare(i, 6, "\\boxed") == 0) name = 6;
      else if (text.compare(i, 5, "\\fbox") == 0) name = 5;
      size_t brace = i + name;
      while (name && brace < text.size() && text[brace] == ' ') ++brace;
      if (name && brace < text.size() && text[brace] == '{') {
        open.push_back(brace + 1);
        i = brace;
      } else {
        ++i;  // the next character is escaped
      }
    } else if (text[i] == '{') {
      open.push_back(kPlain);
    } else if (text[i] == '}' && !open.empty()) {
      const size_t begin = open.back();
      open.pop_back();
      if (begin == kPlain || begin < best) continue;
      best = begin;
      out.found = true;
      out.content = text.substr(begin, i - begin);
    }
  }
  for (size_t begin : open) out.skipped_unbalanced |= begin != kPlain && begin > best;
  return out;
}

}  // namespace canvaslab::grading
