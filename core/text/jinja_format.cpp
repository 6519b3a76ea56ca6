// Python's two ways to format text, as far as templates use them.
#include <cstdio>

#include "core/error.h"
#include "core/text/jinja_evaluator.h"
#include "core/text/jinja_strings.h"

namespace canvaslab::jinja {
namespace {

constexpr int64_t kMaxWidth = 10000;

std::string number_text(const std::string& flags, int64_t precision, char type, const Value& value) {
  if (!value.is_number()) throw input_error("format '{}': expected a number, got {}", type, value.type());
  char buffer[512];
  int length = 0;
  if (type == 'd' || type == 'x' || type == 'X' || type == 'o') {
    const int64_t whole = value.is_integer() ? value.integer : static_cast<int64_t>(value.real);
    const std::string spec = "%" + flags + "ll" + type;
    length = std::snprintf(buffer, sizeof buffer, spec.c_str(), static_cast<long long>(type == 'd' || whole >= 0 ? whole : -whole));
    if (type != 'd' && whole < 0) return "-" + std::string(buffer, static_cast<size_t>(length));
  } else {
    const std::string spec = "%" + flags + ".*" + type;
    length = std::snprintf(buffer, sizeof buffer, spec.c_str(), static_cast<int>(precision < 0 ? 6 : precision), value.as_real());
  }
  if (length < 0 || static_cast<size_t>(length) >= sizeof buffer) throw input_error("format '{}': the result is too long", type);
  return std::string(buffer, static_cast<size_t>(length));
}

std::string padded(std::string text, int64_t width, char align, const std::string& fill) {
  const int64_t missing = width - num_characters(text);
  if (missing <= 0) return text;
  const int64_t left = align == '<' ? 0 : align == '>' ? missing : missing / 2;
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

int64_t read_number(std::string_view text, size_t& at) {
  int64_t out = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    out = out * 10 + (text[at++] - '0');
    if (out > kMaxWidth) throw input_error("format: a width or precision above {}", kMaxWidth);
  }
  return out;
}

/// [[fill]align][sign][0][width][,][.precision][type]
std::string apply_spec(const Value& value, std::string_view spec) {
  if (spec.empty()) return to_text(value);
  std::string fill = " ", flags;
  char align = value.is_number() ? '>' : '<';
  size_t at = 0;
  const std::string_view aligns = "<>^";
  if (spec.size() > 1 && aligns.find(spec[1]) != std::string_view::npos) fill = spec[0], align = spec[1], at = 2;
  else if (aligns.find(spec[0]) != std::string_view::npos) align = spec[0], at = 1;
  if (at < spec.size() && (spec[at] == '+' || spec[at] == ' ' || spec[at] == '-')) flags = spec[at++] == '-' ? "" : std::string(1, spec[at - 1]);
  if (at < spec.size() && spec[at] == '0') fill = "0";
  const int64_t width = read_number(spec, at);
  const bool commas = at < spec.size() && spec[at] == ',' && ++at;
  int64_t precision = -1;
  if (at < spec.size() && spec[at] == '.') precision = read_number(spec, ++at);
  char type = at < spec.size() ? spec[at++] : '\0';
  if (at != spec.size()) throw input_error("format: '{}' is not supported", spec);
  std::string text;
  if (type == '\0' || type == 's') {
    if (precision >= 0 || commas || !flags.empty()) {
      if (!value.is_integer() || precision >= 0) throw input_error("format: '{}' is not supported for {}", spec, value.type());
      text = number_text(flags, -1, 'd', value);
    } else {
      text = to_text(value);
    }
  } else if (std::string_view("dxXofFeEgG").find(type) != std::string_view::npos) {
    text = number_text(flags, precision, type, value);
  } else if (type == '%') {
    text = number_text(flags, precision, 'f', Value::number(value.as_real() * 100)) + "%";
  } else {
    throw input_error("format: '{}' is not supported", spec);
  }
  if (commas) {
    const size_t first = text.find_first_of("0123456789"), point = std::min(text.find('.'), text.size());
    for (size_t i = point; i > first + 3; ) text.insert(i -= 3, ",");
  }
  return padded(std::move(text), width, align, fill);
}

}  // namespace

std::string percent_format(std::string_view format, const Value& arguments) {
  std::string out;
  size_t next = 0;
  const bool tuple = arguments.kind == Kind::kTuple;
  const auto take = [&]() -> Value {
    const size_t count = tuple ? arguments.list->size() : 1;
    if (next >= count) throw input_error("format: there are fewer values than places for them");
    ++next;
    return tuple ? (*arguments.list)[next - 1] : arguments;
  };
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    if (++at >= format.size()) throw input_error("format: the text ends inside a place");
    std::string key, flags;
    bool named = false;
    if (format[at] == '(') {
      const size_t end = format.find(')', at);
      if (end == std::string_view::npos) throw input_error("format: expected ')'");
      key = format.substr(at + 1, end - at - 1);
      named = true;
      at = end + 1;
    }
    while (at < format.size() && std::string_view("-+ 0#").find(format[at]) != std::string_view::npos) flags += format[at++];
    const int64_t width = read_number(format, at);
    int64_t precision = -1;
    if (at < format.size() && format[at] == '.') precision = read_number(format, ++at);
    const char type = at < format.size() ? format[at] : '\0';
    if (type == '%') {
      out += '%';
      continue;
    }
    Value value;
    if (named) {
      const Value* found = arguments.is_mapping() ? arguments.dict->find(Value::text(key)) : nullptr;
      if (!found) throw input_error("format: there is no value named '{}'", key);
      value = *found;
    } else {
      value = take();
    }
    const bool left = flags.find('-') != std::string::npos, zeros = flags.find('0') != std::string::npos && !left;
    std::string sign = flags.find('+') != std::string::npos ? "+" : "";
    std::string text;
    if (type == 's') text = to_text(value);
    else if (type == 'r') text = to_repr(value);
    else if (type == 'd' || type == 'i') text = number_text(sign, -1, 'd', value);
    else if (type != '\0' && std::string_view("xXofFeEgG").find(type) != std::string_view::npos) text = number_text(sign, precision, type, value);
    else throw input_error("format: '%{}' is not supported", type ? std::string(1, type) : "");
    out += padded(std::move(text), width, left ? '<' : '>', zeros ? "0" : " ");
  }
  if (!arguments.is_mapping() && next < (tuple ? arguments.list->size() : 1)) throw input_error("format: there are more values than places for them");
  return out;
}

std::string brace_format(Evaluator& evaluator, std::string_view format, const Arguments& arguments) {
  std::string out;
  size_t next = 0;
  for (size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c == '}') throw input_error("format: single '}}'");
    if (c != '{') {
      out += c;
      continue;
    }
    const size_t end = format.find('}', at);
    if (end == std::string_view::npos) throw input_error("format: expected '}}'");
    const std::string_view place = format.substr(at + 1, end - at - 1);
    const size_t name_end = std::min(place.find_first_of(".[!:"), place.size());
    const std::string name(place.substr(0, name_end));
    if (place.find('{') != std::string_view::npos || (name_end < place.size() && (place[name_end] == '.' || place[name_end] == '[')))
      throw input_error("format: '{{{}}}' is not supported", place);
    Value value;
    if (name.empty() || name.find_first_not_of("0123456789") == std::string::npos) {
      size_t ignored = 0;
      const size_t index = name.empty() ? next++ : static_cast<size_t>(read_number(name, ignored));
      if (index >= arguments.positional.size()) throw input_error("format: there is no value {}", index);
      value = arguments.positional[index];
    } else {
      bool found = false;
      for (const auto& [key, given] : arguments.named)
        if (key == name) value = given, found = true;
      if (!found) throw input_error("format: there is no value named '{}'", name);
    }
    std::string_view rest = place.substr(name_end);
    if (rest.starts_with("!r") || rest.starts_with("!s")) {
      value = evaluator.text(rest[1] == 'r' ? to_repr(value) : to_text(value));
      rest.remove_prefix(2);
    }
    if (!rest.empty() && rest[0] != ':') throw input_error("format: '{{{}}}' is not supported", place);
    out += apply_spec(value, rest.empty() ? rest : rest.substr(1));
    at = end;
  }
  return out;
}

}  // namespace canvaslab::jinja
