// Methods of strings, lists and mappings; global functions.
#include <algorithm>
#include <ctime>
#include <map>

#include "core/error.h"
#include "core/text/jinja_evaluator.h"
#include "core/text/jinja_strings.h"
#include "core/text/utf8.h"

namespace canvaslab::jinja {
namespace {

using Method = Value (*)(Evaluator&, const Value& self, const Arguments&);

Value text_list(Evaluator& e, std::vector<std::string> parts) {
  List out;
  for (auto& part : parts) out.push_back(e.text(std::move(part)));
  return Value::sequence(std::move(out));
}

Value stripped(Evaluator& e, const Value& self, const Arguments& a, bool left, bool right) {
  const Value characters = a.get(0, "chars");
  if (characters.is_undefined() || characters.is_none()) return e.text(strip(*self.string, nullptr, left, right), self.markup);
  const std::string set = need_text(characters, "strip");
  return e.text(strip(*self.string, &set, left, right), self.markup);
}

Value split_text(Evaluator& e, const Value& self, const Arguments& a, bool from_right) {
  const Value separator = a.get(0, "sep"), limit = a.get(1, "maxsplit");
  const int64_t most = limit.is_undefined() ? -1 : need_integer(limit, "split");
  if (separator.is_undefined() || separator.is_none()) return text_list(e, split(*self.string, nullptr, most, from_right));
  const std::string text = need_text(separator, "split");
  if (text.empty()) throw input_error("split: the separator is empty");
  return text_list(e, split(*self.string, &text, most, from_right));
}

/// startswith and endswith: one string or a tuple of them.
bool matches_any(const Value& affixes, const char* who, const std::function<bool(const std::string&)>& matches) {
  if (affixes.kind == Kind::kTuple) return std::any_of(affixes.list->begin(), affixes.list->end(), [&](const Value& v) { return matches(need_text(v, who)); });
  if (!affixes.is_text()) throw input_error("{}: expected a string or a tuple of strings, got {}", who, affixes.type());
  return matches(*affixes.string);
}

Value found_at(const std::string& text, size_t at) {
  return Value::number(at == std::string::npos ? int64_t{-1} : num_characters(std::string_view(text).substr(0, at)));
}

/// True when the text is not empty and the test holds for all its characters.
bool all_characters(const std::string& text, bool (*test)(int32_t)) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (!test(c.code)) return false;
    at += c.length;
  }
  return !text.empty();
}

bool is_letter(int32_t c) { return is_word_character(c) && !is_number(c) && c != '_'; }
bool is_letter_or_number(int32_t c) { return is_letter(c) || is_number(c); }

std::string title(const std::string& text) {
  std::string out;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const std::string one = text.substr(at, c.length);
    out += inside ? lower(one) : upper(one);
    inside = is_letter(c.code);
    at += c.length;
  }
  return out;
}

Value padded(Evaluator& e, const Value& self, const Arguments& a, int left_share) {
  const int64_t width = need_integer(a.get(0, "width"), "width"), missing = std::max<int64_t>(0, width - num_characters(*self.string));
  const Value given = a.get(1, "fillchar");
  const std::string fill = given.is_undefined() ? " " : need_text(given, "fillchar");
  e.spend(static_cast<size_t>(missing));
  const int64_t left = left_share == 2 ? missing : left_share == 0 ? 0 : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += *self.string;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return e.text(std::move(out));
}

const std::map<std::string, Method>& text_methods() {
  static const std::map<std::string, Method> methods = {
      {"upper", [](Evaluator& e, const Value& s, const Arguments&) { return e.text(upper(*s.string), s.markup); }},
      {"lower", [](Evaluator& e, const Value& s, const Arguments&) { return e.text(lower(*s.string), s.markup); }},
      {"casefold", [](Evaluator& e, const Value& s, const Arguments&) { return e.text(lower(*s.string), s.markup); }},
      {"capitalize", [](Evaluator& e, const Value& s, const Arguments&) { return e.text(capitalize(*s.string), s.markup); }},
      {"title", [](Evaluator& e, const Value& s, const Arguments&) { return e.text(title(*s.string), s.markup); }},
      {"strip", [](Evaluator& e, const Value& s, const Arguments& a) { return stripped(e, s, a, true, true); }},
      {"lstrip", [](Evaluator& e, const Value& s, const Arguments& a) { return stripped(e, s, a, true, false); }},
      {"rstrip", [](Evaluator& e, const Value& s, const Arguments& a) { return stripped(e, s, a, false, true); }},
      {"split", [](Evaluator& e, const Value& s, const Arguments& a) { return split_text(e, s, a, false); }},
      {"rsplit", [](Evaluator& e, const Value& s, const Arguments& a) { return split_text(e, s, a, true); }},
      {"splitlines", [](Evaluator& e, const Value& s, const Arguments& a) { return text_list(e, split_lines(*s.string, a.get(0, "keepends").truth())); }},
      {"replace", [](Evaluator& e, const Value& s, const Arguments& a) {
         const Value count = a.get(2, "count");
         if (a.positional.size() < 2) throw input_error("replace: expected two strings");
         return e.text(replace(*s.string, need_text(a.positional[0], "replace"), need_text(a.positional[1], "replace"), count.is_undefined() ? -1 : need_integer(count, "replace")), s.markup);
       }},
      {"startswith", [](Evaluator&, const Value& s, const Arguments& a) {
         return Value::boolean(matches_any(a.get(0, "prefix"), "startswith", [&](const std::string& t) { return s.string->starts_with(t); }));
       }},
      {"endswith", [](Evaluator&, const Value& s, const Arguments& a) {
         return Value::boolean(matches_any(a.get(0, "suffix"), "endswith", [&](const std::string& t) { return s.string->ends_with(t); }));
       }},
      {"removeprefix", [](Evaluator& e, const Value& s, const Arguments& a) {
         const std::string t = need_text(a.get(0, "prefix"), "removeprefix");
         return s.string->starts_with(t) ? e.text(s.string->substr(t.size())) : s;
       }},
      {"removesuffix", [](Evaluator& e, const Value& s, const Arguments& a) {
         const std::string t = need_text(a.get(0, "suffix"), "removesuffix");
         return s.string->ends_with(t) ? e.text(s.string->substr(0, s.string->size() - t.size())) : s;
       }},
      {"find", [](Evaluator&, const Value& s, const Arguments& a) { return found_at(*s.string, s.string->find(need_text(a.get(0, "sub"), "find"))); }},
      {"rfind", [](Evaluator&, const Value& s, const Arguments& a) { return found_at(*s.string, s.string->rfind(need_text(a.get(0, "sub"), "rfind"))); }},
      {"index", [](Evaluator&, const Value& s, const Arguments& a) {
         const size_t at = s.string->find(need_text(a.get(0, "sub"), "index"));
         if (at == std::string::npos) throw input_error("index: the substring is not found");
         return found_at(*s.string, at);
       }},
      {"count", [](Evaluator&, const Value& s, const Arguments& a) {
         const std::string t = need_text(a.get(0, "sub"), "count");
         return Value::number(t.empty() ? num_characters(*s.string) + 1 : static_cast<int64_t>(split(*s.string, &t, -1, false).size()) - 1);
       }},
      {"join", [](Evaluator& e, const Value& s, const Arguments& a) {
         std::string out;
         size_t i = 0;
         for (const auto& part : e.elements(a.get(0, "iterable"))) {
           if (!part.is_text()) throw input_error("join: element {} is {}, expected a string", i, part.type());
           out += (i++ ? *s.string : "") + *part.string;
         }
         return e.text(std::move(out));
       }},
      {"format", [](Evaluator& e, const Value& s, const Arguments& a) { return e.text(brace_format(e, *s.string, a)); }},
      {"isdigit", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_number)); }},
      {"isnumeric", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_number)); }},
      {"isdecimal", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_number)); }},
      {"isalpha", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_letter)); }},
      {"isalnum", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_letter_or_number)); }},
      {"isspace", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(all_characters(*s.string, is_python_space)); }},
      {"isupper", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(upper(*s.string) == *s.string && lower(*s.string) != *s.string); }},
      {"islower", [](Evaluator&, const Value& s, const Arguments&) { return Value::boolean(lower(*s.string) == *s.string && upper(*s.string) != *s.string); }},
      {"ljust", [](Evaluator& e, const Value& s, const Arguments& a) { return padded(e, s, a, 0); }},
      {"center", [](Evaluator& e, const Value& s, const Arguments& a) { return padded(e, s, a, 1); }},
      {"rjust", [](Evaluator& e, const Value& s, const Arguments& a) { return padded(e, s, a, 2); }},
      {"partition", [](Evaluator& e, const Value& s, const Arguments& a) {
         const std::string t = need_text(a.get(0, "sep"), "partition");
         const size_t at = t.empty() ? throw input_error("partition: the separator is empty") : s.string->find(t);
         if (at == std::string::npos) return Value::sequence({s, Value::text(""), Value::text("")}, Kind::kTuple);
         return Value::sequence({e.text(s.string->substr(0, at)), Value::text(t), e.text(s.string->substr(at + t.size()))}, Kind::kTuple);
       }},
  };
  return methods;
}

const std::map<std::string, Method>& dict_methods() {
  static const std::map<std::string, Method> methods = {
      {"get", [](Evaluator&, const Value& s, const Arguments& a) {
         const Value* found = s.dict->find(a.get(0, "key"));
         return found ? *found : a.positional.size() > 1 ? a.positional[1] : Value::none();
       }},
      {"keys", [](Evaluator& e, const Value& s, const Arguments&) { return Value::sequence(e.elements(s)); }},
      {"values", [](Evaluator&, const Value& s, const Arguments&) {
         List out;
         for (const auto& [key, value] : s.dict->items()) out.push_back(value);
         return Value::sequence(std::move(out));
       }},
      {"items", [](Evaluator& e, const Value& s, const Arguments&) {
         List out;
         e.spend(s.dict->items().size() * 8);
         for (const auto& [key, value] : s.dict->items()) out.push_back(Value::sequence({key, value}, Kind::kTuple));
         return Value::sequence(std::move(out));
       }},
      {"copy", [](Evaluator& e, const Value& s, const Arguments&) {
         e.spend(s.dict->items().size() * 64);
         return Value::mapping(*s.dict);
       }},
  };
  return methods;
}

const std::map<std::string, Method>& list_methods() {
  static const std::map<std::string, Method> methods = {
      {"index", [](Evaluator&, const Value& s, const Arguments& a) {
         for (size_t i = 0; i < s.list->size(); ++i)
           if (equal((*s.list)[i], a.get(0, "value"))) return Value::number(static_cast<int64_t>(i));
         throw input_error("index: the value is not in the list");
       }},
      {"count", [](Evaluator&, const Value& s, const Arguments& a) {
         return Value::number(static_cast<int64_t>(std::count_if(s.list->begin(), s.list->end(), [&](const Value& v) { return equal(v, a.get(0, "value")); })));
       }},
      {"copy", [](Evaluator& e, const Value& s, const Arguments&) { return Value::sequence(e.elements(s)); }},
  };
  return methods;
}

Value range(Evaluator& e, const Arguments& a) {
  if (a.positional.empty() || a.positional.size() > 3) throw input_error("range: expected one to three numbers");
  int64_t begin = 0, end = need_integer(a.positional[0], "range"), step = 1;
  if (a.positional.size() > 1) begin = end, end = need_integer(a.positional[1], "range");
  if (a.positional.size() > 2) step = need_integer(a.positional[2], "range");
  if (step == 0) throw input_error("range: the step cannot be 0");
  constexpr int64_t kLongest = 100000;  // as in Jinja's sandbox
  List out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<int64_t>(out.size()) == kLongest) throw input_error("range: longer than {}", kLongest);
    out.push_back(Value::number(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  e.spend(out.size() * sizeof(Value));
  return Value::sequence(std::move(out));
}

Value named_values(const Arguments& a, Kind kind) {
  Dict out;
  for (const auto& value : a.positional) {
    if (!value.is_mapping()) throw input_error("expected a mapping or name=value, got {}", value.type());
    for (const auto& [key, item] : value.dict->items()) out.set(key, item);
  }
  for (const auto& [key, value] : a.named) out.set(Value::text(key), value);
  return Value::mapping(std::move(out), kind);
}

}  // namespace

std::optional<Value> find_method(const Value& object, const std::string& name) {
  const auto* methods = object.is_text() ? &text_methods() : object.is_mapping() ? &dict_methods() : object.is_sequence() ? &list_methods() : nullptr;
  if (!methods) return std::nullopt;
  const auto found = methods->find(name);
  if (found != methods->end()) {
    return Value::callable([object, method = found->second](Evaluator& e, const Arguments& a) {
      e.spend(1 + (object.is_text() ? object.string->size() : 0));
      return method(e, object, a);
    });
  }
  for (const char* changes : {"append", "extend", "insert", "remove", "pop", "clear", "update", "setdefault", "popitem", "sort", "reverse"})
    if (!object.is_text() && name == changes && !(object.is_mapping() && object.dict->find(Value::text(name))))
      return Value::callable([name](Evaluator&, const Arguments&) -> Value { throw input_error("'{}' would change a value; templates must not", name); });
  return std::nullopt;
}

void add_globals(Scope& scope) {
  scope.values["range"] = Value::callable(range);
  scope.values["dict"] = Value::callable([](Evaluator&, const Arguments& a) { return named_values(a, Kind::kDict); });
  scope.values["namespace"] = Value::callable([](Evaluator&, const Arguments& a) { return named_values(a, Kind::kNamespace); });
  scope.values["raise_exception"] = Value::callable([](Evaluator&, const Arguments& a) -> Value { throw input_error("{}", to_text(a.get(0, "message"))); });
  scope.values["strftime_now"] = Value::callable([](Evaluator& e, const Arguments& a) {
    const std::string format = need_text(a.get(0, "format"), "strftime_now");
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    std::string out(format.size() * 8 + 64, '\0');
    out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
    return e.text(std::move(out));
  });
}

}  // namespace canvaslab::jinja
