// Filters and tests of chat templates.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/text/jinja_evaluator.h"
#include "core/text/jinja_strings.h"

#pragma GCC diagnostic ignored "-Wrestrict"  // a false alarm of GCC 12 in std::string

namespace canvaslab::jinja {
namespace {

using Filters = std::map<std::string, FilterFunction>;
using Tests = std::map<std::string, TestFunction>;

Value generator(List values) { return Value::sequence(std::move(values), Kind::kGenerator); }

/// `a.b.0` of a value.
Value path(Evaluator& e, Value value, const Value& name) {
  if (name.is_integer()) return e.item(value, name);
  const std::string dot = ".";
  for (const auto& part : split(need_text(name, "attribute"), &dot, -1, false)) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos && part.size() < 10;
    value = e.item(value, number ? Value::number(static_cast<int64_t>(std::stol(part))) : Value::text(part));
  }
  return value;
}

Value sort_key(const Value& value, bool case_sensitive) { return value.is_text() && !case_sensitive ? Value::text(lower(*value.string)) : value; }

Value sorted(Evaluator& e, List values, const Value& attribute, bool case_sensitive, bool reverse) {
  std::vector<std::pair<Value, size_t>> order;
  for (size_t i = 0; i < values.size(); ++i) {
    const Value key = attribute.is_undefined() || attribute.is_none() ? values[i] : path(e, values[i], attribute);
    order.emplace_back(sort_key(key, case_sensitive), i);
  }
  e.spend(values.size() * 20);
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) { return reverse ? compare(a.first, b.first) > 0 : compare(a.first, b.first) < 0; });
  List out;
  for (const auto& [key, i] : order) out.push_back(values[i]);
  return Value::sequence(std::move(out));
}

/// select, reject, selectattr, rejectattr.
Value chosen(Evaluator& e, const Value& input, const Arguments& a, bool by_attribute, bool keep) {
  List out;
  if (!input.truth()) return generator({});  // none and undefined are allowed here, as in Jinja
  const size_t first = by_attribute ? 1 : 0;
  if (a.positional.size() < first) throw input_error("selectattr: expected the name of an attribute");
  for (const auto& value : e.elements(input)) {
    const Value subject = by_attribute ? path(e, value, a.positional[0]) : value;
    bool holds = subject.truth();
    if (a.positional.size() > first) {
      Arguments rest;
      rest.positional.assign(a.positional.begin() + static_cast<std::ptrdiff_t>(first) + 1, a.positional.end());
      rest.named = a.named;
      holds = e.test(need_text(a.positional[first], "select"), subject, rest);
    }
    if (holds == keep) out.push_back(value);
  }
  return generator(std::move(out));
}

Value mapped(Evaluator& e, const Value& input, const Arguments& a) {
  List out;
  if (!input.truth()) return generator({});
  const Value attribute = a.positional.empty() ? a.get(0, "attribute") : Value();
  if (a.positional.empty() && attribute.is_undefined()) throw input_error("map: expected a filter or attribute=");
  for (const auto& value : e.elements(input)) {
    if (a.positional.empty()) {
      const Value found = path(e, value, attribute), fallback = a.get(1, "default");
      out.push_back(found.is_undefined() && !fallback.is_undefined() ? fallback : found);
    } else {
      Arguments rest;
      rest.positional.assign(a.positional.begin() + 1, a.positional.end());
      rest.named = a.named;
      out.push_back(e.filter(need_text(a.positional[0], "map"), value, rest));
    }
  }
  return generator(std::move(out));
}

Value json_text(Evaluator& e, const Value& input, const Arguments& a) {
  JsonStyle style;
  style.ascii = a.get(0, "ensure_ascii").truth();
  const Value indent = a.get(1, "indent"), separators = a.get(2, "separators");
  if (!indent.is_undefined() && !indent.is_none()) {
    style.indent = static_cast<int>(std::clamp<int64_t>(need_integer(indent, "tojson"), 0, 64));
    style.item_separator = std::string(",");
  }
  if (separators.is_sequence() && separators.list->size() == 2) {
    style.item_separator = need_text((*separators.list)[0], "tojson");
    style.key_separator = need_text((*separators.list)[1], "tojson");
  }
  style.sort_keys = a.get(3, "sort_keys").truth();
  return e.text(to_json(input, style));
}

int64_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return num_characters(*value.string);
  if (value.is_sequence()) return static_cast<int64_t>(value.list->size());
  if (value.is_mapping()) return static_cast<int64_t>(value.dict->items().size());
  throw input_error("a value of type {} has no length", value.type());
}

Value joined(Evaluator& e, const Value& input, const Arguments& a) {
  const std::string between = a.get(0, "d").is_undefined() ? "" : to_text(a.get(0, "d"));
  const Value attribute = a.get(1, "attribute");
  std::string out;
  bool first = true;
  for (const auto& value : e.elements(input)) {
    if (!first) out += between;
    first = false;
    out += to_text(attribute.is_undefined() ? value : path(e, value, attribute));
    e.spend(between.size() + 8);
  }
  return e.text(std::move(out));
}

Value indented(Evaluator& e, const Value& input, const Arguments& a) {
  const Value width = a.get(0, "width");
  if (width.is_integer() && width.integer > 10000) throw input_error("indent: wider than 10000");
  const std::string indent = width.is_text() ? *width.string : std::string(static_cast<size_t>(std::max<int64_t>(0, width.is_undefined() ? 4 : need_integer(width, "indent"))), ' ');
  const bool first = a.get(1, "first").truth(), blank = a.get(2, "blank").truth();
  std::string out = first ? indent : "";
  const auto lines = split_lines(to_text(input) + "\n", false);
  for (size_t i = 0; i < lines.size(); ++i) {
    e.spend(indent.size());
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indent;
    out += lines[i];
  }
  return e.text(std::move(out), input.markup);
}

Value to_integer(const Value& input, const Arguments& a) {
  const Value fallback = a.get(0, "default");
  const Value otherwise = fallback.is_undefined() ? Value::number(int64_t{0}) : fallback;
  if (input.is_integer()) return Value::number(input.integer);
  double real = 0;
  if (input.is_text()) {
    const std::string text = strip(*input.string, nullptr, true, true);
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    int64_t whole = 0;
    const Value base = a.get(1, "base");
    const auto result = std::from_chars(begin, text.data() + text.size(), whole, base.is_integer() ? static_cast<int>(std::clamp<int64_t>(base.integer, 2, 36)) : 10);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size() && !text.empty()) return Value::number(whole);
    char* end = nullptr;
    real = std::strtod(text.c_str(), &end);
    if (text.empty() || *end) return otherwise;
  } else if (input.kind == Kind::kReal) {
    real = input.real;
  } else {
    return otherwise;
  }
  return std::abs(real) < 9e18 ? Value::number(static_cast<int64_t>(real)) : otherwise;
}

Value to_real(const Value& input, const Arguments& a) {
  const Value fallback = a.get(0, "default");
  if (input.is_number()) return Value::number(input.as_real());
  if (input.is_text()) {
    const std::string text = strip(*input.string, nullptr, true, true);
    char* end = nullptr;
    const double real = std::strtod(text.c_str(), &end);
    if (!text.empty() && !*end) return Value::number(real);
  }
  return fallback.is_undefined() ? Value::number(0.0) : fallback;
}

Value rounded(const Value& input, const Arguments& a) {
  if (!input.is_number()) throw input_error("round: expected a number, got {}", input.type());
  const Value digits = a.get(0, "precision"), method = a.get(1, "method");
  const int64_t precision = digits.is_undefined() ? 0 : need_integer(digits, "round");
  if (precision < 0 || precision > 30) throw input_error("round: precision {} is outside [0, 30]", precision);
  const std::string how = method.is_undefined() ? "common" : need_text(method, "round");
  if (how == "common") {
    if (input.is_integer()) return Value::number(input.integer);
    return Value::number(std::strtod(fmt::format("{:.{}f}", input.real, precision).c_str(), nullptr));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return Value::number(std::ceil(input.as_real() * scale) / scale);
  if (how == "floor") return Value::number(std::floor(input.as_real() * scale) / scale);
  throw input_error("round: method '{}' is unknown; expected common, ceil or floor", how);
}

Value title_words(Evaluator& e, const Value& input) {
  std::string out, word;
  const std::string text = to_text(input);
  const auto flush = [&] { out += capitalize(word), word.clear(); };
  for (char c : text) {
    if (std::string_view("-({[< \t\n\r\f\v").find(c) == std::string_view::npos) {
      word += c;
    } else {
      flush();
      out += c;
    }
  }
  flush();
  return e.text(std::move(out));
}

Value truncated(Evaluator& e, const Value& input, const Arguments& a) {
  const Value length = a.get(0, "length"), end = a.get(2, "end"), leeway = a.get(3, "leeway");
  const int64_t most = length.is_undefined() ? 255 : need_integer(length, "truncate"), slack = leeway.is_undefined() ? 5 : need_integer(leeway, "truncate");
  const std::string tail = end.is_undefined() ? "..." : need_text(end, "truncate"), text = to_text(input);
  if (num_characters(text) <= most + slack) return e.text(text);
  std::string kept;
  int64_t count = 0;
  for (const auto& c : e.elements(Value::text(text))) {
    if (count++ >= most - num_characters(tail)) break;
    kept += *c.string;
  }
  if (!a.get(1, "killwords").truth())
    if (const size_t space = kept.rfind(' '); space != std::string::npos) kept.resize(space);
  return e.text(kept + tail);
}

Value extreme(Evaluator& e, const Value& input, const Arguments& a, bool largest) {
  const Value ordered = sorted(e, e.elements(input), a.get(1, "attribute"), a.get(0, "case_sensitive").truth(), largest);
  return ordered.list->empty() ? Value::undefined("the extreme of no values") : ordered.list->front();
}

const Filters& filters() {
  static const Filters all = {
      {"abs", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kReal ? Value::number(std::abs(v.real)) : Value::number(std::abs(need_integer(v, "abs"))); }},
      {"attr", [](Evaluator& e, const Value& v, const Arguments& a) { return e.attribute(v, need_text(a.get(0, "name"), "attr")); }},
      {"capitalize", [](Evaluator& e, const Value& v, const Arguments&) { return e.text(capitalize(to_text(v)), v.markup); }},
      {"default", [](Evaluator&, const Value& v, const Arguments& a) {
         const bool missing = v.is_undefined() || (a.get(1, "boolean").truth() && !v.truth());
         if (!missing) return v;
         const Value fallback = a.get(0, "default_value");
         return a.positional.empty() && a.named.empty() ? Value::text("") : fallback;
       }},
      {"dictsort", [](Evaluator& e, const Value& v, const Arguments& a) {
         if (!v.is_mapping()) throw input_error("dictsort: expected a mapping, got {}", v.type());
         const Value by = a.get(1, "by");
         const std::string what = by.is_undefined() ? "key" : need_text(by, "dictsort");
         if (what != "key" && what != "value") throw input_error("dictsort: by='{}' is unknown; expected key or value", what);
         List items;
         for (const auto& [key, value] : v.dict->items()) items.push_back(Value::sequence({key, value}, Kind::kTuple));
         return sorted(e, std::move(items), Value::number(int64_t{what == "value"}), a.get(0, "case_sensitive").truth(), a.get(2, "reverse").truth());
       }},
      {"escape", [](Evaluator& e, const Value& v, const Arguments&) { return v.markup ? v : e.text(escape_markup(to_text(v)), true); }},
      {"first", [](Evaluator& e, const Value& v, const Arguments&) {
         const List values = e.elements(v);
         return values.empty() ? Value::undefined("the first of no values") : values.front();
       }},
      {"float", [](Evaluator&, const Value& v, const Arguments& a) { return to_real(v, a); }},
      {"format", [](Evaluator& e, const Value& v, const Arguments& a) {
         if (a.named.empty()) return e.text(percent_format(to_text(v), Value::sequence(a.positional, Kind::kTuple)));
         Dict names;
         for (const auto& [key, value] : a.named) names.set(Value::text(key), value);
         return e.text(percent_format(to_text(v), Value::mapping(std::move(names))));
       }},
      {"indent", indented},
      {"int", [](Evaluator&, const Value& v, const Arguments& a) { return to_integer(v, a); }},
      {"items", [](Evaluator& e, const Value& v, const Arguments&) {
         if (v.is_undefined()) return generator({});
         if (!v.is_mapping()) throw input_error("items: expected a mapping, got {}", v.type());
         return generator(*e.call(*find_method(v, "items"), {}).list);
       }},
      {"join", joined},
      {"last", [](Evaluator& e, const Value& v, const Arguments&) {
         if (v.kind == Kind::kGenerator) throw input_error("last: a generator cannot be reversed");
         const List values = e.elements(v);
         return values.empty() ? Value::undefined("the last of no values") : values.back();
       }},
      {"length", [](Evaluator&, const Value& v, const Arguments&) { return Value::number(length_of(v)); }},
      {"list", [](Evaluator& e, const Value& v, const Arguments&) { return Value::sequence(e.elements(v)); }},
      {"lower", [](Evaluator& e, const Value& v, const Arguments&) { return e.text(lower(to_text(v)), v.markup); }},
      {"map", mapped},
      {"max", [](Evaluator& e, const Value& v, const Arguments& a) { return extreme(e, v, a, true); }},
      {"min", [](Evaluator& e, const Value& v, const Arguments& a) { return extreme(e, v, a, false); }},
      {"reject", [](Evaluator& e, const Value& v, const Arguments& a) { return chosen(e, v, a, false, false); }},
      {"rejectattr", [](Evaluator& e, const Value& v, const Arguments& a) { return chosen(e, v, a, true, false); }},
      {"replace", [](Evaluator& e, const Value& v, const Arguments& a) {
         const Value count = a.get(2, "count");
         return e.text(replace(to_text(v), to_text(a.get(0, "old")), to_text(a.get(1, "new")), count.is_undefined() || count.is_none() ? -1 : need_integer(count, "replace")), v.markup);
       }},
      {"reverse", [](Evaluator& e, const Value& v, const Arguments&) {
         List values = e.elements(v);
         std::reverse(values.begin(), values.end());
         if (!v.is_text()) return generator(std::move(values));
         std::string out;
         for (const auto& c : values) out += *c.string;
         return e.text(std::move(out));
       }},
      {"round", [](Evaluator&, const Value& v, const Arguments& a) { return rounded(v, a); }},
      {"safe", [](Evaluator& e, const Value& v, const Arguments&) { return e.text(to_text(v), true); }},
      {"select", [](Evaluator& e, const Value& v, const Arguments& a) { return chosen(e, v, a, false, true); }},
      {"selectattr", [](Evaluator& e, const Value& v, const Arguments& a) { return chosen(e, v, a, true, true); }},
      {"sort", [](Evaluator& e, const Value& v, const Arguments& a) { return sorted(e, e.elements(v), a.get(2, "attribute"), a.get(1, "case_sensitive").truth(), a.get(0, "reverse").truth()); }},
      {"string", [](Evaluator& e, const Value& v, const Arguments&) { return v.is_text() ? v : e.text(to_text(v)); }},
      {"sum", [](Evaluator& e, const Value& v, const Arguments& a) {
         const Value attribute = a.get(0, "attribute"), start = a.get(1, "start");
         bool real = start.kind == Kind::kReal;
         double sum = start.is_number() ? start.as_real() : 0;
         int64_t whole = start.is_integer() ? start.integer : 0;
         for (const auto& item : e.elements(v)) {
           const Value number = attribute.is_undefined() || attribute.is_none() ? item : path(e, item, attribute);
           if (!number.is_number()) throw input_error("sum: expected numbers, got {}", number.type());
           real |= !number.is_integer();
           sum += number.as_real();
           if (number.is_integer() && __builtin_add_overflow(whole, number.integer, &whole)) throw input_error("sum: the result does not fit 64 bits");
         }
         return real ? Value::number(sum) : Value::number(whole);
       }},
      {"title", [](Evaluator& e, const Value& v, const Arguments&) { return title_words(e, v); }},
      {"tojson", json_text},
      {"trim", [](Evaluator& e, const Value& v, const Arguments& a) {
         const Value characters = a.get(0, "chars");
         const std::string set = to_text(characters);
         return e.text(strip(to_text(v), characters.is_text() ? &set : nullptr, true, true), v.markup);
       }},
      {"truncate", truncated},
      {"unique", [](Evaluator& e, const Value& v, const Arguments& a) {
         List out, keys;
         const Value attribute = a.get(1, "attribute");
         for (const auto& item : e.elements(v)) {
           const Value key = sort_key(attribute.is_undefined() || attribute.is_none() ? item : path(e, item, attribute), a.get(0, "case_sensitive").truth());
           e.spend(keys.size());
           if (std::any_of(keys.begin(), keys.end(), [&](const Value& k) { return equal(k, key); })) continue;
           keys.push_back(key);
           out.push_back(item);
         }
         return generator(std::move(out));
       }},
      {"upper", [](Evaluator& e, const Value& v, const Arguments&) { return e.text(upper(to_text(v)), v.markup); }},
      {"wordcount", [](Evaluator&, const Value& v, const Arguments&) { return Value::number(static_cast<int64_t>(split(to_text(v), nullptr, -1, false).size())); }},
  };
  return all;
}

template <int kSign, bool kOrEqual>
bool ordered(Evaluator&, const Value& a, const Arguments& b) {
  if (b.positional.empty()) throw input_error("a comparison needs a value to compare with");
  const int order = compare(a, b.positional[0]);
  return (kOrEqual && order == 0) || (kSign < 0 ? order < 0 : order > 0);
}

const Tests& tests() {
  static const Tests all = {
      {"defined", [](Evaluator&, const Value& v, const Arguments&) { return !v.is_undefined(); }},
      {"undefined", [](Evaluator&, const Value& v, const Arguments&) { return v.is_undefined(); }},
      {"none", [](Evaluator&, const Value& v, const Arguments&) { return v.is_none(); }},
      {"boolean", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kBoolean; }},
      {"true", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kBoolean && v.integer; }},
      {"false", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kBoolean && !v.integer; }},
      {"integer", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kInteger; }},
      {"float", [](Evaluator&, const Value& v, const Arguments&) { return v.kind == Kind::kReal; }},
      {"number", [](Evaluator&, const Value& v, const Arguments&) { return v.is_number(); }},
      {"string", [](Evaluator&, const Value& v, const Arguments&) { return v.is_text(); }},
      {"mapping", [](Evaluator&, const Value& v, const Arguments&) { return v.is_mapping(); }},
      {"sequence", [](Evaluator&, const Value& v, const Arguments&) { return v.is_text() || v.is_sequence() || v.is_mapping(); }},
      {"iterable", [](Evaluator&, const Value& v, const Arguments&) { return v.is_text() || v.is_sequence() || v.is_mapping() || v.is_undefined() || v.kind == Kind::kGenerator; }},
      {"callable", [](Evaluator&, const Value& v, const Arguments&) { return v.function != nullptr; }},
      {"escaped", [](Evaluator&, const Value& v, const Arguments&) { return v.markup; }},
      {"lower", [](Evaluator&, const Value& v, const Arguments&) { return lower(to_text(v)) == to_text(v) && upper(to_text(v)) != to_text(v); }},
      {"upper", [](Evaluator&, const Value& v, const Arguments&) { return upper(to_text(v)) == to_text(v) && lower(to_text(v)) != to_text(v); }},
      {"even", [](Evaluator&, const Value& v, const Arguments&) { return need_integer(v, "even") % 2 == 0; }},
      {"odd", [](Evaluator&, const Value& v, const Arguments&) { return need_integer(v, "odd") % 2 != 0; }},
      {"divisibleby", [](Evaluator&, const Value& v, const Arguments& a) {
         const int64_t by = need_integer(a.get(0, "num"), "divisibleby");
         if (by == 0) throw input_error("divisibleby: division by zero");
         return by == -1 || need_integer(v, "divisibleby") % by == 0;
       }},
      {"eq", [](Evaluator&, const Value& v, const Arguments& a) { return equal(v, a.get(0, "other")); }},
      {"ne", [](Evaluator&, const Value& v, const Arguments& a) { return !equal(v, a.get(0, "other")); }},
      {"lt", ordered<-1, false>}, {"le", ordered<-1, true>}, {"gt", ordered<1, false>}, {"ge", ordered<1, true>},
      {"sameas", [](Evaluator&, const Value& v, const Arguments& a) {
         const Value other = a.get(0, "other");
         return v.kind == other.kind && (v.list ? v.list == other.list : v.dict ? v.dict == other.dict : equal(v, other));
       }},
      {"in", [](Evaluator& e, const Value& v, const Arguments& a) {
         const Value in = a.get(0, "seq");
         if (in.is_text()) return in.string->find(need_text(v, "in")) != std::string::npos;
         if (in.is_mapping()) return in.dict->find(v) != nullptr;
         const List values = e.elements(in);
         return std::any_of(values.begin(), values.end(), [&](const Value& x) { return equal(x, v); });
       }},
      {"filter", [](Evaluator&, const Value& v, const Arguments&) { return v.is_text() && find_filter(*v.string); }},
      {"test", [](Evaluator&, const Value& v, const Arguments&) { return v.is_text() && find_test(*v.string); }},
  };
  return all;
}

}  // namespace

FilterFunction find_filter(const std::string& name) {
  static const std::map<std::string, std::string> aliases = {{"d", "default"}, {"count", "length"}, {"e", "escape"}};
  const auto alias = aliases.find(name);
  const auto found = filters().find(alias == aliases.end() ? name : alias->second);
  return found == filters().end() ? nullptr : found->second;
}

TestFunction find_test(const std::string& name) {
  static const std::map<std::string, std::string> aliases = {{"==", "eq"}, {"equalto", "eq"}, {"!=", "ne"}, {"<", "lt"}, {"lessthan", "lt"}, {"<=", "le"}, {">", "gt"}, {"greaterthan", "gt"}, {">=", "ge"}};
  const auto alias = aliases.find(name);
  const auto found = tests().find(alias == aliases.end() ? name : alias->second);
  return found == tests().end() ? nullptr : found->second;
}

}  // namespace canvaslab::jinja
