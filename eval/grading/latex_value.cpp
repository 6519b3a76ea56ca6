#include "eval/grading/latex_value.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <numbers>

namespace canvaslab::grading {
namespace {

using std::string_view;

struct NoValue {};

/// Recursive descent. Throws NoValue at the first thing it does not know.
class Reader {
 public:
  explicit Reader(string_view text) : text_(text) {}
  double all() {
    const double value = sum();
    blanks();
    if (at_ != text_.size()) throw NoValue{};
    return value;
  }

 private:
  static bool digit(char c) { return c >= '0' && c <= '9'; }
  static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  void blanks() {
    for (;;) {
      if (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '~')) ++at_;
      else if (at_ + 1 < text_.size() && text_[at_] == '\\' && string_view(",!; ").find(text_[at_ + 1]) != string_view::npos) at_ += 2;
      else return;
    }
  }
  char peek() {
    blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) throw NoValue{};
  }
  /// The macro name at the reading position without its backslash, "" for none.
  string_view macro() {
    if (peek() != '\\') return {};
    size_t end = at_ + 1;
    while (end < text_.size() && letter(text_[end])) ++end;
    return text_.substr(at_ + 1, end - at_ - 1);
  }
  bool take_macro(string_view name) {
    if (macro() != name) return false;
    at_ += name.size() + 1;
    return true;
  }
  struct Level {
    explicit Level(int& depth) : depth_(depth) {
      if (++depth_ > 100) throw NoValue{};
    }
    ~Level() { --depth_; }
    int& depth_;
  };

  double sum() {
    const Level level(depth_);
    double value = product();
    for (;;) {
      if (take('+')) value += product();
      else if (take('-')) value -= product();
      else return value;
    }
  }
  double product() {
    double value = signed_power();
    for (;;) {
      const char c = peek();
      const string_view name = c == '\\' ? macro() : string_view{};
      if (c == '*' || c == '/') {
        ++at_;
      } else if (name == "cdot" || name == "times" || name == "div") {
        at_ += name.size() + 1;
      } else {  // a factor right behind the other, or the end
        const bool factor = digit(c) || c == '.' || c == '(' || c == '{' || (!name.empty() && name != "right");
        if (!factor) return value;
        value *= power();
        continue;
      }
      const double next = signed_power();
      value = c == '/' || name == "div" ? value / next : value * next;
    }
  }
  double signed_power() {
    bool minus = false;
    for (;;) {
      if (take('-')) minus = !minus;
      else if (!take('+')) break;
    }
    const double value = power();
    return minus ? -value : value;
  }
  double power() {
    const Level level(depth_);
    const double base = postfix();
    if (!take('^')) return base;
    return std::pow(base, group_or_factor());
  }
  double postfix() {
    double value = primary();
    for (;;) {
      if (take('!')) {
        if (value < 0 || value != std::floor(value) || value > 170) throw NoValue{};
        value = std::round(std::tgamma(value + 1));
      } else if (take('%') || text_.compare(at_, 2, "\\%") == 0) {
        if (at_ < text_.size() && text_[at_] == '\\') at_ += 2;
        value /= 100;
      } else {
        return value;
      }
    }
  }
  double braced() {
    expect('{');
    const double value = sum();
    expect('}');
    return value;
  }
  /// What \frac, \sqrt and ^ take: a group, or a single digit or macro.
  double group() {
    if (peek() == '{') return braced();
    if (digit(peek())) return text_[at_++] - '0';
    return primary();
  }
  double group_or_factor() {
    if (peek() == '-' ) {
      ++at_;
      return -group_or_factor_unsigned();
    }
    return group_or_factor_unsigned();
  }
  double group_or_factor_unsigned() { return peek() == '{' ? braced() : digit(peek()) ? text_[at_++] - '0' : primary(); }
  double number() {
    const size_t begin = at_;
    std::string digits;
    while (at_ < text_.size() && (digit(text_[at_]) || (text_[at_] == ',' && at_ > begin && parentheses_ == 0 && thousands(at_)))) {
      if (text_[at_] != ',') digits += text_[at_];
      ++at_;
    }
    whole_ = true;
    if (at_ < text_.size() && text_[at_] == '.') {
      whole_ = false;
      do digits += text_[at_++];
      while (at_ < text_.size() && digit(text_[at_]));
    }
    double value = 0;
    if (digits == ".") throw NoValue{};
    if (digits.starts_with('.')) digits = fmt::format("0{}", digits);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) throw NoValue{};
    return value;
  }
  /// Three digits and no fourth behind the comma.
  bool thousands(size_t comma) const {
    size_t n = 0;
    while (n < 4 && comma + 1 + n < text_.size() && digit(text_[comma + 1 + n])) ++n;
    return n == 3;
  }
  double primary() {
    const Level level(depth_);
    const char c = peek();
    if (digit(c) || c == '.') {
      const double value = number();
      if (whole_ && mixed_follows()) return value + primary();
      return value;
    }
    if (c == '{') return braced();
    if (take('(')) {
      ++parentheses_;  // commas separate there: (1,234) is a pair
      const double value = until(')');
      --parentheses_;
      return value;
    }
    if (take_macro("left")) {
      expect('(');
      const double value = sum();
      if (!take_macro("right")) throw NoValue{};
      expect(')');
      return value;
    }
    return named();
  }
  double until(char close) {
    const double value = sum();
    expect(close);
    return value;
  }
  /// A fraction of two plain numbers right behind a whole number is added to it.
  bool mixed_follows() {
    const string_view name = macro();
    if (name != "frac" && name != "dfrac" && name != "tfrac") return false;
    size_t i = at_ + 1 + name.size();
    for (int part = 0; part < 2; ++part) {
      if (i >= text_.size()) return false;
      if (digit(text_[i])) {
        ++i;
        continue;
      }
      if (text_[i] != '{') return false;
      const size_t begin = ++i;
      while (i < text_.size() && digit(text_[i])) ++i;
      if (i == begin || i >= text_.size() || text_[i] != '}') return false;
      ++i;
    }
    return true;
  }
  double named() {
    const string_view name = macro();
    if (name.empty()) throw NoValue{};
    at_ += name.size() + 1;
    if (name == "pi") return std::numbers::pi;
    if (name == "frac" || name == "dfrac" || name == "tfrac") {
      const double top = group();
      return top / group();
    }
    if (name == "sqrt") {
      double degree = 2;
      if (take('[')) degree = until(']');
      const double value = group();
      if (degree == 2) return std::sqrt(value);
      if (degree == 3) return std::cbrt(value);
      return std::pow(value, 1 / degree);
    }
    return function(name);
  }
  double function(string_view name) {
    double base = 10, exponent = 1;
    if (name == "log" && take('_')) base = group();
    if (take('^')) exponent = group();
    const double x = power();
    double value = 0;
    if (name == "sin") value = std::sin(x);
    else if (name == "cos") value = std::cos(x);
    else if (name == "tan") value = std::tan(x);
    else if (name == "cot") value = 1 / std::tan(x);
    else if (name == "sec") value = 1 / std::cos(x);
    else if (name == "csc") value = 1 / std::sin(x);
    else if (name == "arcsin") value = std::asin(x);
    else if (name == "arccos") value = std::acos(x);
    else if (name == "arctan") value = std::atan(x);
    else if (name == "ln") value = std::log(x);
    else if (name == "exp") value = std::exp(x);
    else if (name == "log") value = base == 10 ? std::log10(x) : std::log(x) / std::log(base);
    else throw NoValue{};
    return exponent == 1 ? value : std::pow(value, exponent);
  }

  string_view text_;
  size_t at_ = 0;
  int depth_ = 0, parentheses_ = 0;
  bool whole_ = false;
};

}  // namespace

std::optional<double> latex_value(string_view text) {
  try {
    const double value = Reader(text).all();
    return std::isfinite(value) ? std::optional(value) : std::nullopt;
  } catch (const NoValue&) {
    return std::nullopt;
  }
}

std::string round_two(double value) {
  std::string out = fmt::format("{:.2f}", value);
  return out == "-0.00" ? "0.00" : out;
}

}  // namespace canvaslab::grading
