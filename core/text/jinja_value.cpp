#include "core/text/jinja_value.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "core/text/utf8.h"

namespace canvaslab::jinja {
namespace {

constexpr int kMaxDepth = 200;  // of nested containers: deeper ones would overflow the stack

void check_depth(int depth) {
  if (depth > kMaxDepth) throw input_error("values are nested more than {} deep", kMaxDepth);
}

std::string dict_key(const Value& key) {
  if (key.is_text()) return "s" + *key.string;
  if (key.is_integer()) return "n" + std::to_string(key.integer);
  if (key.kind == Kind::kReal && key.real == std::floor(key.real) && std::abs(key.real) < 1e15) return "n" + std::to_string(static_cast<int64_t>(key.real));
  if (key.kind == Kind::kReal || key.is_none() || key.kind == Kind::kTuple) return "r" + to_repr(key);
  throw input_error("a {} cannot be a key of a mapping", key.type());
}

/// Python's repr of a float: the shortest digits that read back the same.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string text(buffer, scientific.ptr);
  const int exponent = std::stoi(text.substr(text.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  text.assign(buffer, fixed.ptr);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

bool prints(int32_t code) {
  if (code < 0x80) return code >= 0x20 && code < 0x7F;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

std::string text_repr(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const std::string_view bytes = std::string_view(text).substr(at, c.length);
    at += c.length;
    if (c.code == quote || c.code == '\\') out += '\\', out += bytes;
    else if (c.code == '\n') out += "\\n";
    else if (c.code == '\r') out += "\\r";
    else if (c.code == '\t') out += "\\t";
    else if (c.code >= 0 && prints(c.code)) out += bytes;
    else if (c.code < 0x100) out += fmt::format("\\x{:02x}", c.code);
    else if (c.code < 0x10000) out += fmt::format("\\u{:04x}", c.code);
    else out += fmt::format("\\U{:08x}", c.code);
  }
  return out + quote;
}

std::string repr(const Value& value, int depth) {
  check_depth(depth);
  std::string out;
  const auto list = [&](std::string_view open, std::string_view close) {
    out += open;
    for (size_t i = 0; i < value.list->size(); ++i) out += (i ? ", " : "") + repr((*value.list)[i], depth + 1);
    if (value.kind == Kind::kTuple && value.list->size() == 1) out += ",";
    out += close;
  };
  switch (value.kind) {
    case Kind::kUndefined: return depth ? "Undefined" : "";
    case Kind::kNone: return "None";
    case Kind::kBoolean: return value.integer ? "True" : "False";
    case Kind::kInteger: return std::to_string(value.integer);
    case Kind::kReal: return real_text(value.real);
    case Kind::kString: return value.markup ? "Markup(" + text_repr(*value.string) + ")" : text_repr(*value.string);
    case Kind::kList: list("[", "]"); return out;
    case Kind::kTuple: list("(", ")"); return out;
    case Kind::kNamespace:
    case Kind::kDict:
      out = value.kind == Kind::kDict ? "{" : "<Namespace {";
      for (size_t i = 0; i < value.dict->items().size(); ++i) {
        const auto& [key, item] = value.dict->items()[i];
        out += (i ? ", " : "") + repr(key, depth + 1) + ": " + repr(item, depth + 1);
      }
      return out + (value.kind == Kind::kDict ? "}" : "}>");
    case Kind::kFunction: return "<function>";
    case Kind::kGenerator: return "<generator object>";
  }
  return out;
}

void write_json_text(const std::string& text, bool ascii, std::string& out) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const std::string_view bytes = std::string_view(text).substr(at, c.length);
    at += c.length;
    if (c.code == '"' || c.code == '\\') out += '\\', out += bytes;
    else if (c.code == '\n') out += "\\n";
    else if (c.code == '\r') out += "\\r";
    else if (c.code == '\t') out += "\\t";
    else if (c.code == '\b') out += "\\b";
    else if (c.code == '\f') out += "\\f";
    else if (c.code >= 0 && (c.code < 0x20 || (ascii && c.code > 0x7E && c.code < 0x10000))) out += fmt::format("\\u{:04x}", c.code);
    else if (ascii && c.code >= 0x10000) out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c.code - 0x10000) >> 10), 0xDC00 + ((c.code - 0x10000) & 0x3FF));
    else out += bytes;
  }
  out += '"';
}

void write_json(const Value& value, const JsonStyle& style, int depth, std::string& out) {
  check_depth(depth);
  const auto line = [&](int level) {
    if (style.indent >= 0) out += "\n" + std::string(static_cast<size_t>(style.indent) * static_cast<size_t>(level), ' ');
  };
  switch (value.kind) {
    case Kind::kNone: out += "null"; return;
    case Kind::kBoolean: out += value.integer ? "true" : "false"; return;
    case Kind::kInteger: out += std::to_string(value.integer); return;
    case Kind::kReal: out += std::isnan(value.real) ? "NaN" : std::isinf(value.real) ? (value.real > 0 ? "Infinity" : "-Infinity") : real_text(value.real); return;
    case Kind::kString: write_json_text(*value.string, style.ascii, out); return;
    case Kind::kList:
    case Kind::kTuple:
      if (value.list->empty()) { out += "[]"; return; }
      out += '[';
      for (size_t i = 0; i < value.list->size(); ++i) {
        if (i) out += style.item_separator;
        line(depth + 1);
        write_json((*value.list)[i], style, depth + 1, out);
      }
      line(depth);
      out += ']';
      return;
    case Kind::kDict: {
      if (value.dict->items().empty()) { out += "{}"; return; }
      std::vector<const std::pair<Value, Value>*> order;
      for (const auto& item : value.dict->items()) order.push_back(&item);
      if (style.sort_keys) std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return compare(a->first, b->first) < 0; });
      out += '{';
      for (size_t i = 0; i < order.size(); ++i) {
        if (i) out += style.item_separator;
        line(depth + 1);
        const Value& key = order[i]->first;
        if (key.is_text()) write_json_text(*key.string, style.ascii, out);
        else if (key.is_none()) out += "\"null\"";
        else if (key.kind == Kind::kBoolean) out += key.integer ? "\"true\"" : "\"false\"";
        else if (key.is_number()) out += '"' + to_repr(key) + '"';
        else throw input_error("tojson: a {} cannot be a key in JSON", key.type());
        out += style.key_separator;
        write_json(order[i]->second, style, depth + 1, out);
      }
      line(depth);
      out += '}';
      return;
    }
    default: throw input_error("tojson: a value of type {} cannot be written as JSON", value.type());
  }
}

Value json_value(const OrderedJson& json, int depth) {
  check_depth(depth);
  if (json.is_null()) return Value::none();
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_integer()) return Value::number(json.get<int64_t>());
  if (json.is_number()) return Value::number(json.get<double>());
  if (json.is_string()) return Value::text(json.get<std::string>());
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.push_back(json_value(item, depth + 1));
    return Value::sequence(std::move(list));
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) dict.set(Value::text(key), json_value(item, depth + 1));
  return Value::mapping(std::move(dict));
}

bool equal_deep(const Value& a, const Value& b, int depth) {
  check_depth(depth);
  if (a.is_number() && b.is_number()) return a.is_integer() && b.is_integer() ? a.integer == b.integer : a.as_real() == b.as_real();
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kString: return *a.string == *b.string;
    case Kind::kList:
    case Kind::kTuple:
      return std::equal(a.list->begin(), a.list->end(), b.list->begin(), b.list->end(), [&](const Value& x, const Value& y) { return equal_deep(x, y, depth + 1); });
    case Kind::kDict:
      if (a.dict->items().size() != b.dict->items().size()) return false;
      for (const auto& [key, item] : a.dict->items()) {
        const Value* other = b.dict->find(key);
        if (!other || !equal_deep(item, *other, depth + 1)) return false;
      }
      return true;
    case Kind::kNamespace: return a.dict == b.dict;
    case Kind::kFunction: return a.function == b.function;
    default: return true;
  }
}

}  // namespace

const Value* Dict::find(const Value& key) const {
  const auto found = index_.find(dict_key(key));
  return found == index_.end() ? nullptr : &items_[found->second].second;
}

void Dict::set(const Value& key, Value value) {
  const auto [place, fresh] = index_.emplace(dict_key(key), items_.size());
  if (fresh) items_.emplace_back(key, std::move(value));
  else items_[place->second].second = std::move(value);
}

void Dict::clear() {
  index_.clear();
  items_.clear();
}

Value Arguments::get(size_t i, std::string_view name) const {
  if (i < positional.size()) return positional[i];
  for (const auto& [key, value] : named)
    if (key == name) return value;
  return Value::undefined(std::string(name));
}

Value Value::undefined(std::string what) {
  Value out;
  out.string = std::make_shared<const std::string>(std::move(what));
  return out;
}
Value Value::none() {
  Value out;
  out.kind = Kind::kNone;
  return out;
}
Value Value::boolean(bool value) {
  Value out;
  out.kind = Kind::kBoolean;
  out.integer = value;
  return out;
}
Value Value::number(int64_t value) {
  Value out;
  out.kind = Kind::kInteger;
  out.integer = value;
  return out;
}
Value Value::number(double value) {
  Value out;
  out.kind = Kind::kReal;
  out.real = value;
  return out;
}
Value Value::text(std::string value, bool markup) {
  Value out;
  out.kind = Kind::kString;
  out.markup = markup;
  out.string = std::make_shared<const std::string>(std::move(value));
  return out;
}
Value Value::sequence(List values, Kind kind) {
  Value out;
  out.kind = kind;
  out.list = std::make_shared<List>(std::move(values));
  return out;
}
Value Value::mapping(Dict values, Kind kind) {
  Value out;
  out.kind = kind;
  out.dict = std::make_shared<Dict>(std::move(values));
  return out;
}
Value Value::callable(Function function) {
  Value out;
  out.kind = Kind::kFunction;
  out.function = std::make_shared<const Function>(std::move(function));
  return out;
}
Value Value::from_json(const OrderedJson& json) { return json_value(json, 0); }

bool Value::truth() const {
  switch (kind) {
    case Kind::kUndefined: case Kind::kNone: return false;
    case Kind::kBoolean: case Kind::kInteger: return integer != 0;
    case Kind::kReal: return real != 0;
    case Kind::kString: return !string->empty();
    case Kind::kList: case Kind::kTuple: return !list->empty();
    case Kind::kDict: return !dict->items().empty();
    default: return true;
  }
}

std::string_view Value::type() const {
  static constexpr std::string_view kNames[] = {"undefined", "NoneType", "bool", "int", "float", "str", "list", "tuple", "dict", "Namespace", "function", "generator"};
  return kNames[static_cast<size_t>(kind)];
}

bool equal(const Value& a, const Value& b) { return equal_deep(a, b, 0); }

int compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer < b.integer ? -1 : a.integer > b.integer;
    return a.as_real() < b.as_real() ? -1 : a.as_real() > b.as_real();
  }
  if (a.is_text() && b.is_text()) return a.string->compare(*b.string);
  if (a.is_sequence() && a.kind == b.kind) {
    for (size_t i = 0; i < std::min(a.list->size(), b.list->size()); ++i)
      if (!equal((*a.list)[i], (*b.list)[i])) return compare((*a.list)[i], (*b.list)[i]);
    return static_cast<int>(a.list->size() > b.list->size()) - static_cast<int>(a.list->size() < b.list->size());
  }
  throw input_error("'{}' and '{}' cannot be put in order", a.type(), b.type());
}

std::string to_text(const Value& value) { return value.is_text() ? *value.string : repr(value, 0); }
std::string to_repr(const Value& value) { return value.is_undefined() ? "Undefined" : repr(value, 0); }

std::string to_json(const Value& value, const JsonStyle& style) {
  std::string out;
  write_json(value, style, 0, out);
  return out;
}

std::string escape_markup(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&#34;";
    else if (c == '\'') out += "&#39;";
    else out += c;
  }
  return out;
}

}  // namespace canvaslab::jinja
