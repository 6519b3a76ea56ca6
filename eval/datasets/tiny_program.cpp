#include "eval/datasets/tiny_program.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace canvaslab {

/// Recursive descent over the bytes. Every method gives the number of a node, or -1 once the text has gone wrong.
class TinyProgramParser {
 public:
  explicit TinyProgramParser(std::string_view text) : text_(text) {}

  std::optional<TinyProgram> program() {
    if (text_.size() > kMostBytes || !word("def") || !letter() || !symbol("(")) return std::nullopt;
    const auto parameter = letter();
    if (!parameter || !symbol(")") || !symbol(":")) return std::nullopt;
    parameter_ = *parameter;
    if (at_ < text_.size() && text_[at_] == '\n' && !indented()) return std::nullopt;
    if (!word("return")) return std::nullopt;
    out_.root_ = expression();
    skip_spaces();
    if (out_.root_ < 0 || at_ != text_.size()) return std::nullopt;
    return std::move(out_);
  }

 private:
  using Op = TinyProgram::Op;
  static constexpr size_t kMostBytes = 256;
  static constexpr int kDeepest = 32;

  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void skip_spaces() {
    while (peek() == ' ') ++at_;
  }
  bool indented() {
    ++at_;
    if (peek() != ' ') return false;
    skip_spaces();
    return true;
  }
  bool word(std::string_view wanted) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(wanted) || is_letter(peek(wanted.size())) || is_digit(peek(wanted.size()))) return false;
    at_ += wanted.size();
    return true;
  }
  bool symbol(std::string_view wanted) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    if (wanted == ":") skip_spaces();
    return true;
  }
  std::optional<char> letter() {
    skip_spaces();
    if (!is_letter(peek()) || is_letter(peek(1)) || is_digit(peek(1))) return std::nullopt;
    return text_[at_++];
  }

  int node(Op op, int a = -1, int b = -1, int c = -1) {
    out_.nodes_.push_back({.op = op, .number = 0, .a = a, .b = b, .c = c});
    return static_cast<int>(out_.nodes_.size()) - 1;
  }

  int expression() {
    if (depth_ == kDeepest) return -1;
    ++depth_;
    int then = sum();
    if (then >= 0 && word("if")) {
      const int condition = comparison();
      const int otherwise = condition >= 0 && word("else") ? expression() : -1;
      then = otherwise < 0 ? -1 : node(Op::kConditional, then, condition, otherwise);
    }
    --depth_;
    return then;
  }

  int comparison() {
    static constexpr std::array<std::pair<std::string_view, Op>, 6> kSigns = {
        {{"<=", Op::kLessEqual}, {">=", Op::kGreaterEqual}, {"==", Op::kEqual}, {"!=", Op::kNotEqual}, {"<", Op::kLess}, {">", Op::kGreater}}};
    const int left = sum();
    if (left < 0) return -1;
    for (const auto& [sign, op] : kSigns)
      if (symbol(sign)) {
        const int right = sum();
        return right < 0 ? -1 : node(op, left, right);
      }
    return left;
  }

  int sum() {
    int left = product();
    while (left >= 0) {
      const Op op = symbol("+") ? Op::kAdd : symbol("-") ? Op::kSubtract : Op::kNumber;
      if (op == Op::kNumber) break;
      const int right = product();
      left = right < 0 ? -1 : node(op, left, right);
    }
    return left;
  }

  int product() {
    int left = factor();
    while (left >= 0) {
      // "**" is another operation, and "*" followed by nothing that fits fails in factor().
      const Op op = symbol("*") ? Op::kMultiply : symbol("//") ? Op::kDivide : symbol("%") ? Op::kModulo : Op::kNumber;
      if (op == Op::kNumber) break;
      const int right = factor();
      left = right < 0 ? -1 : node(op, left, right);
    }
    return left;
  }

  int factor() {
    if (symbol("-")) {
      if (depth_ == kDeepest) return -1;
      ++depth_;
      const int inner = factor();
      --depth_;
      return inner < 0 ? -1 : node(Op::kNegate, inner);
    }
    if (symbol("(")) {
      const int inner = expression();
      return inner >= 0 && symbol(")") ? inner : -1;
    }
    if (is_digit(peek())) return number();
    return letter() == parameter_ ? node(Op::kParameter) : -1;
  }

  /// At most 9 digits; no zero in front of others and no letter right behind, as Python wants it.
  int number() {
    const size_t begin = at_;
    int64_t number = 0;
    while (is_digit(peek())) {
      if (at_ - begin == 9) return -1;
      number = number * 10 + (text_[at_++] - '0');
    }
    if ((text_[begin] == '0' && at_ - begin > 1) || is_letter(peek())) return -1;
    const int out = node(Op::kNumber);
    out_.nodes_.back().number = number;
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::optional<char> parameter_;
  TinyProgram out_;
};

std::optional<TinyProgram> TinyProgram::parse(std::string_view text) { return TinyProgramParser(text).program(); }

namespace {

/// Python's floor division and its remainder, which has the divisor's sign.
std::optional<std::pair<int64_t, int64_t>> floor_divide(int64_t a, int64_t b) {
  if (b == 0 || (a == std::numeric_limits<int64_t>::min() && b == -1)) return std::nullopt;
  const int64_t quotient = a / b, rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? std::pair{quotient - 1, rest + b} : std::pair{quotient, rest};
}

}  // namespace

std::optional<int64_t> TinyProgram::value(int index, int64_t x) const {
  const Node& node = nodes_[static_cast<size_t>(index)];
  if (node.op == Op::kNumber) return node.number;
  if (node.op == Op::kParameter) return x;
  if (node.op == Op::kConditional) {
    const auto condition = value(node.b, x);
    return condition ? value(*condition ? node.a : node.c, x) : std::nullopt;
  }
  const auto a = value(node.a, x), b = node.op == Op::kNegate ? std::optional<int64_t>(0) : value(node.b, x);
  if (!a || !b) return std::nullopt;
  int64_t out = 0;
  const auto unless = [&](bool overflow) { return overflow ? std::nullopt : std::optional(out); };
  switch (node.op) {
    case Op::kAdd: return unless(__builtin_add_overflow(*a, *b, &out));
    case Op::kSubtract: return unless(__builtin_sub_overflow(*a, *b, &out));
    case Op::kMultiply: return unless(__builtin_mul_overflow(*a, *b, &out));
    case Op::kNegate: return unless(__builtin_sub_overflow(int64_t{0}, *a, &out));
    case Op::kDivide: {
      const auto both = floor_divide(*a, *b);
      return both ? std::optional(both->first) : std::nullopt;
    }
    case Op::kModulo: {
      const auto both = floor_divide(*a, *b);
      return both ? std::optional(both->second) : std::nullopt;
    }
    case Op::kLess: return *a < *b;
    case Op::kLessEqual: return *a <= *b;
    case Op::kGreater: return *a > *b;
    case Op::kGreaterEqual: return *a >= *b;
    case Op::kEqual: return *a == *b;
    default: return *a != *b;
  }
}

}  // namespace canvaslab
