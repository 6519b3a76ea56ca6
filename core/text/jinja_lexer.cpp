#include <algorithm>

#include "core/error.h"
#include "core/text/jinja_strings.h"
#include "core/text/jinja_syntax.h"
#include "core/text/utf8.h"

namespace canvaslab::jinja {
namespace {


std::string without_trailing_space(std::string text) {
  size_t keep = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.length;
    if (!is_python_space(c.code)) keep = at;
  }
  text.resize(keep);
  return text;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& name) : name_(name) {
    for (size_t i = 0; i < source.size(); ++i) {  // line ends become \n, and one at the very end is dropped
      if (source[i] == '\r') {
        source_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        source_ += source[i];
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    add(TokenKind::kEnd, "");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw input_error("{}:{}: {}", name_, line_, what); }
  void add(TokenKind kind, std::string text) { out_.push_back({kind, std::move(text), line_}); }
  bool here(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }
  void skip(size_t count) {
    for (size_t i = 0; i < count; ++i, ++at_) line_ += source_[at_] == '\n';
  }
  void skip_space() {
    while (at_ < source_.size()) {
      const CodePoint c = code_point_at(source_, at_);
      if (!is_python_space(c.code)) return;
      skip(c.length);
    }
  }

  /// Literal text up to the next tag, and that tag.
  void text() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) return literal(source_.size(), source_.substr(at_));
      if (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#') break;
      ++tag;
    }
    const char sort = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    literal(tag, before_tag(tag, sort, sign));
    skip(2);
    if (sign == '-' || sign == '+') skip(1);
    if (sort == '#') return comment();
    if (sort == '%' && raw()) return;
    add(sort == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    inside(sort == '{');
  }

  /// The text before a tag with the white space removed that its sign or lstrip_blocks takes.
  std::string before_tag(size_t tag, char sort, char sign) const {
    std::string text = source_.substr(at_, tag - at_);
    if (sign == '-') return without_trailing_space(std::move(text));
    if (sign == '+' || sort == '{') return text;
    const size_t begin = text.rfind('\n') + 1;
    if ((begin > 0 || line_start_) && without_trailing_space(text.substr(begin)).empty()) text.resize(begin);
    return text;
  }

  void literal(size_t end, std::string text) {
    if (!text.empty()) add(TokenKind::kText, std::move(text));
    if (end > at_) line_start_ = source_[end - 1] == '\n';
    skip(end - at_);
  }

  /// Behind the end of a tag: `-` takes all white space, trim_blocks one line end.
  void after_tag(char sign, bool trims) {
    line_start_ = false;
    if (sign == '-') {
      const size_t begin = at_;
      skip_space();
      line_start_ = at_ > begin && source_[at_ - 1] == '\n';
    } else if (trims && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      skip(1);
      line_start_ = true;
    }
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("the comment is not closed; expected '#}'");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    skip(end + 2 - at_);
    after_tag(sign, true);
  }

  bool raw() {
    const size_t back = at_;
    const int back_line = line_;
    skip_space();
    if (!here("raw") || (at_ + 3 < source_.size() && (std::isalnum(static_cast<unsigned char>(source_[at_ + 3])) || source_[at_ + 3] == '_'))) {
      at_ = back, line_ = back_line;
      return false;
    }
    skip(3);
    skip_space();
    char sign = '\0';
    if (here("-%}") || here("+%}")) sign = source_[at_], skip(1);
    if (!here("%}")) fail("expected '%}' behind raw");
    skip(2);
    after_tag(sign, true);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      size_t word = tag + 2;
      const char open = word < source_.size() ? source_[word] : '\0';
      if (open == '-' || open == '+') ++word;
      word = source_.find_first_not_of(" \t\n", word);
      if (word == std::string::npos || source_.compare(word, 6, "endraw") != 0) continue;
      size_t end = source_.find_first_not_of(" \t\n", word + 6);
      if (end == std::string::npos) break;
      const char close = source_[end] == '-' || source_[end] == '+' ? source_[end++] : '\0';
      if (source_.compare(end, 2, "%}") != 0) continue;
      literal(tag, before_tag(tag, '%', open));
      skip(end + 2 - at_);
      after_tag(close, true);
      return true;
    }
    fail("the raw block is not closed; expected '{% endraw %}'");
  }

  void inside(bool print) {
    const std::string_view close = print ? "}}" : "%}";
    std::string brackets;
    while (true) {
      skip_space();
      if (at_ >= source_.size()) fail(fmt::format("the tag is not closed; expected '{}'", close));
      if (brackets.empty()) {
        const char sign = here("-") || here("+") ? source_[at_] : '\0';
        if (source_.compare(at_ + (sign ? 1 : 0), 2, close) == 0 && (sign != '+' || !print)) {
          add(print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
          skip(sign ? 3 : 2);
          return after_tag(sign, !print);
        }
      }
      const auto c = static_cast<unsigned char>(source_[at_]);
      if (std::isalpha(c) || c == '_' || c >= 0x80) name();
      else if (std::isdigit(c)) number();
      else if (c == '"' || c == '\'') string();
      else symbol(brackets);
    }
  }

  void name() {
    size_t end = at_;
    while (end < source_.size() && (std::isalnum(static_cast<unsigned char>(source_[end])) || source_[end] == '_' || static_cast<uint8_t>(source_[end]) >= 0x80)) ++end;
    add(TokenKind::kName, source_.substr(at_, end - at_));
    skip(end - at_);
  }

  void number() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (std::isdigit(static_cast<unsigned char>(source_[end])) || (source_[end] == '_' && end > at_))) ++end;
    };
    digits();
    bool real = false;
    if (end + 1 < source_.size() && source_[end] == '.' && std::isdigit(static_cast<unsigned char>(source_[end + 1]))) {
      real = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (exponent < source_.size() && std::isdigit(static_cast<unsigned char>(source_[exponent]))) {
        real = true;
        end = exponent;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(real ? TokenKind::kReal : TokenKind::kInteger, std::move(text));
    skip(end - at_);
  }

  void string() {
    const char quote = source_[at_];
    std::string out;
    size_t at = at_ + 1;
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] != '\\' || at + 1 >= source_.size()) {
        out += source_[at];
        continue;
      }
      const char c = source_[++at];
      static constexpr std::string_view kFrom = "ntrabfv\\'\"", kTo = "\n\t\r\a\b\f\v\\'\"";
      const size_t simple = kFrom.find(c);
      if (simple != std::string_view::npos) out += kTo[simple];
      else if (c == 'x') at = escape(at, 2, out);
      else if (c == 'u') at = escape(at, 4, out);
      else if (c == 'U') at = escape(at, 8, out);
      else if (c != '\n') out += '\\', out += c;
    }
    if (at >= source_.size()) fail("the string is not closed");
    add(TokenKind::kString, std::move(out));
    skip(at + 1 - at_);
  }

  size_t escape(size_t at, size_t digits, std::string& out) {
    const std::string text = source_.substr(at + 1, digits);
    if (text.size() != digits || text.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) fail(fmt::format("expected {} hexadecimal digits behind \\{}", digits, source_[at]));
    const unsigned long code = std::stoul(text, nullptr, 16);
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail(fmt::format("\\{}{} is no character", source_[at], text));
    append_utf8(out, static_cast<uint32_t>(code));
    return at + digits;
  }

  void symbol(std::string& brackets) {
    for (std::string_view two : {"//", "**", "==", "!=", "<=", ">="})
      if (here(two)) {
        add(TokenKind::kOperator, std::string(two));
        return skip(2);
      }
    const char c = source_[at_];
    if (std::string_view("+-*/%~|.,:;()[]{}<>=").find(c) == std::string_view::npos) fail(fmt::format("unexpected character '{}'", c));
    if (c == '(' || c == '[' || c == '{') brackets += c;
    if (c == ')' || c == ']' || c == '}') {
      const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (brackets.empty() || brackets.back() != open) fail(fmt::format("unexpected '{}'", c));
      brackets.pop_back();
    }
    add(TokenKind::kOperator, std::string(1, c));
    skip(1);
  }

  std::string source_;
  const std::string& name_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_start_ = true;  ///< the next literal text begins a line
  std::vector<Token> out_;
};

}  // namespace

std::vector<Token> tokenize(std::string source, const std::string& name) { return Lexer(std::move(source), name).run(); }

}  // namespace canvaslab::jinja
