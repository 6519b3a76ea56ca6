#pragma once
// Reading fields of a JSON file with errors that name them.
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/text/regex.h"

namespace canvaslab {

/// One object of a JSON file and the path to it, for errors: "tokenizer.json: decoder.decoders[1]".
class JsonFields {
 public:
  JsonFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw input_error("{}: expected an object, got {}", where_, object.type_name());
  }

  const std::string& where() const { return where_; }
  std::string at(std::string_view key) const { return where_ + (where_.ends_with(": ") ? "" : ".") + std::string(key); }

  /// The value, or null when it is absent or null.
  const Json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  const Json& need(const std::string& key) const {
    if (const auto* value = find(key)) return *value;
    throw input_error("{}: the field is missing", at(key));
  }
  std::string text(const std::string& key) const { return as_text(need(key), key); }
  std::string text_or(const std::string& key, std::string fallback) const {
    const auto* value = find(key);
    return value ? as_text(*value, key) : fallback;
  }
  bool flag_or(const std::string& key, bool fallback) const {
    const auto* value = find(key);
    if (!value) return fallback;
    if (!value->is_boolean()) throw input_error("{}: expected true or false, got {}", at(key), value->type_name());
    return value->get<bool>();
  }
  int64_t integer(const std::string& key) const {
    const auto& value = need(key);
    if (!value.is_number_integer()) throw input_error("{}: expected a whole number, got {}", at(key), value.type_name());
    return value.get<int64_t>();
  }
  const Json& array(const std::string& key) const {
    const auto& value = need(key);
    if (!value.is_array()) throw input_error("{}: expected an array, got {}", at(key), value.type_name());
    return value;
  }

 private:
  std::string as_text(const Json& value, const std::string& key) const {
    if (!value.is_string()) throw input_error("{}: expected a string, got {}", at(key), value.type_name());
    return value.get<std::string>();
  }

  const Json& object_;
  std::string where_;
};

/// The `pattern` field of a Replace or Split: {"String": ".."} or {"Regex": ".."}.
inline TextPattern read_pattern(const JsonFields& fields) {
  const JsonFields pattern(fields.need("pattern"), fields.at("pattern"));
  if (pattern.find("String")) return TextPattern::literal(pattern.text("String"));
  if (pattern.find("Regex")) return TextPattern::regex(pattern.text("Regex"), pattern.at("Regex"));
  throw input_error("{}: expected an object with String or Regex", pattern.where());
}

}  // namespace canvaslab
