#include "eval/grading/contest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <vector>

#include "core/json.h"
#include "eval/grading/scan.h"

namespace canvaslab::grading {
namespace {

std::vector<std::string_view> stripped_lines(std::string_view text) {
  auto out = split(strip(text), "\n");
  for (auto& line : out) line = strip(line);
  return out;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  for (size_t at = skip_space(line, 0); at < line.size();) {
    size_t end = at;
    while (end < line.size() && skip_space(line, end) == end) ++end;
    out.push_back(line.substr(at, end - at));
    at = skip_space(line, end);
  }
  return out;
}

/// A decimal number: digits x 10^exponent without leading or trailing zeros; zero has no digits.
struct Decimal {
  enum class Kind { kFinite, kInfinite, kNan } kind = Kind::kFinite;
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  bool operator==(const Decimal& other) const {
    if (kind == Kind::kNan || other.kind == Kind::kNan) return false;
    if (kind != other.kind) return false;
    if (kind == Kind::kFinite && digits.empty() && other.digits.empty()) return true;  // 0 and -0
    return negative == other.negative && digits == other.digits && exponent == other.exponent;
  }
};

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Infinity, nan and snan with their payload.
std::optional<Decimal> special(std::string text, bool negative) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text == "inf" || text == "infinity") return Decimal{.kind = Decimal::Kind::kInfinite, .negative = negative, .digits = "", .exponent = 0};
  for (const std::string_view name : {"snan", "nan"})
    if (text.starts_with(name) && all_digits(std::string_view(text).substr(name.size()))) return Decimal{.kind = Decimal::Kind::kNan, .negative = negative, .digits = "", .exponent = 0};
  return std::nullopt;
}

/// Python reads exponents of at most 18 digits.
std::optional<int64_t> exponent_of(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || !all_digits(text)) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  if (text.size() > 18) return std::nullopt;
  int64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return negative ? -out : out;
}

std::optional<Decimal> decimal_of(std::string_view word) {
  std::string text(word);
  std::erase(text, '_');
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.erase(0, 1);
  if (text.empty()) return std::nullopt;
  if (std::isalpha(static_cast<unsigned char>(text[0]))) return special(std::move(text), negative);
  int64_t exponent = 0;
  if (const size_t at = text.find_first_of("eE"); at != std::string::npos) {
    const auto given = exponent_of(std::string_view(text).substr(at + 1));
    if (!given) return std::nullopt;
    exponent = *given;
    text.resize(at);
  }
  if (const size_t point = text.find('.'); point != std::string::npos) {
    exponent -= static_cast<int64_t>(text.size() - point - 1);
    text.erase(point, 1);
  }
  if (text.empty() || !all_digits(text)) return std::nullopt;
  const size_t first = std::min(text.find_first_not_of('0'), text.size());
  text.erase(0, first);
  while (text.ends_with('0')) text.pop_back(), ++exponent;
  if (text.empty()) exponent = 0;
  return Decimal{.kind = Decimal::Kind::kFinite, .negative = negative, .digits = std::move(text), .exponent = exponent};
}

bool same_numbers(std::string_view got, std::string_view expected) {
  const auto a = words_of(got), b = words_of(expected);
  bool equal = a.size() == b.size();
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const auto x = i < a.size() ? decimal_of(a[i]) : Decimal{}, y = i < b.size() ? decimal_of(b[i]) : Decimal{};
    if (!x || !y) return false;
    equal = equal && i < a.size() && i < b.size() && *x == *y;
  }
  return equal;
}

/// Whole numbers as digits, others as the shortest text that reads back.
std::string number_text(double value) {
  if (value != std::floor(value)) return fmt::format("{}", value);
  const std::string out = fmt::format("{:.0f}", value);
  return out == "-0" ? "0" : out;
}

/// Builds the canonical text while the parser runs, without its recursion.
class Canonical final : public nlohmann::json_sax<Json> {
 public:
  std::string take() { return std::move(root_); }
  bool null() override { return value("null"); }
  bool boolean(bool v) override { return value(v ? "1" : "0"); }
  bool number_integer(number_integer_t v) override { return value(fmt::format("{}", v)); }
  bool number_unsigned(number_unsigned_t v) override { return value(fmt::format("{}", v)); }
  /// Whole numbers beyond 64 bits come here too, with the text they were written as.
  bool number_float(number_float_t v, const string_t& text) override { return value(text.find_first_of(".eE") == std::string::npos ? text : number_text(v)); }
  bool string(string_t& v) override { return value(json_text(Json(v))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool key(string_t& v) override {
    open_.back().key = v;
    return true;
  }
  bool end_object() override {
    std::string out = "{";
    for (const auto& [name, text] : open_.back().members) out += json_text(Json(name)) + ":" + text + ",";
    open_.pop_back();
    return value(out + "}");
  }
  bool end_array() override {
    std::string out = "[" + open_.back().elements + "]";
    open_.pop_back();
    return value(std::move(out));
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  struct Level {
    bool object = false;
    std::string key, elements;
    std::map<std::string, std::string> members;  ///< the last of two equal keys counts
  };
  bool open(bool object) {
    if (open_.size() == kMostDepth) return false;  // each level copies what is in it
    open_.push_back({.object = object, .key = "", .elements = "", .members = {}});
    return true;
  }
  bool value(std::string text) {
    if (open_.empty()) root_ = std::move(text);
    else if (open_.back().object) open_.back().members[open_.back().key] = std::move(text);
    else open_.back().elements += text + ",";
    return true;
  }
  static constexpr size_t kMostDepth = 1000;
  std::string root_;
  std::vector<Level> open_;
};

}  // namespace

bool same_output(std::string_view got, std::string_view expected) {
  const auto a = stripped_lines(got), b = stripped_lines(expected);
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && !same_numbers(a[i], b[i])) return false;
  return true;
}

std::optional<std::string> canonical_value(std::string_view json) {
  Canonical out;
  if (!Json::sax_parse(json, &out)) return std::nullopt;
  return out.take();
}

}  // namespace canvaslab::grading
