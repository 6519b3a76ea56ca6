#include "core/text/utf8.h"

#include <oniguruma.h>
#include <utf8proc.h>

#include <cstring>

namespace canvaslab {

CodePoint code_point_at(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  uint32_t extra = 0;
  uint8_t low = 0x80, high = 0xBF;  // what the second byte may be: narrower for some leads
  if (lead >= 0xC2 && lead <= 0xDF) {
    extra = 1;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    extra = 2;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    extra = 3;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {-1, 1};
  }
  int32_t code = lead & (0x3F >> extra);
  for (uint32_t i = 1; i <= extra; ++i) {
    if (at + i >= text.size()) return {-1, i, true};
    const uint8_t next = byte(i);
    if (next < low || next > high) return {-1, i};
    code = code << 6 | (next & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code, extra + 1};
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

size_t first_broken_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    uint64_t eight = 0x80;  // characters at once, as long as all are ASCII
    if (at + 8 <= text.size()) std::memcpy(&eight, text.data() + at, 8);
    if ((eight & 0x8080808080808080u) == 0) {
      at += 8;
      continue;
    }
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const CodePoint c = code_point_at(text, at);
    if (c.code < 0) return at;
    at += c.length;
  }
  return std::string_view::npos;
}

std::string replace_broken_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const size_t broken = first_broken_utf8(text);
    out += text.substr(0, broken);
    if (broken == std::string_view::npos) return out;
    out += kReplacementCharacter;
    text.remove_prefix(broken + code_point_at(text, broken).length);
  }
}

bool is_white_space(int32_t code) {
  return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

namespace {

int property(std::string name) {
  auto* begin = reinterpret_cast<UChar*>(name.data());
  return ONIGENC_PROPERTY_NAME_TO_CTYPE(ONIG_ENCODING_UTF8, begin, begin + name.size());
}

bool has_property(int32_t code, int type) {
  return type >= 0 && ONIGENC_IS_CODE_CTYPE(ONIG_ENCODING_UTF8, static_cast<OnigCodePoint>(code), static_cast<unsigned>(type));
}

}  // namespace

bool is_word_character(int32_t code) {
  static const int letter = property("Alphabetic"), mark = property("M"), digit = property("Nd"), connector = property("Pc");
  if (code < 0) return false;
  return code == 0x200C || code == 0x200D || has_property(code, letter) || has_property(code, mark) || has_property(code, digit) || has_property(code, connector);
}

bool is_number(int32_t code) {
  static const int number = property("N");
  return code >= 0 && has_property(code, number);
}

int terminal_columns(int32_t code) {
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return -1;
    default: return utf8proc_charwidth(code);
  }
}

}  // namespace canvaslab
