#pragma once
// JSON in and out. Parser and printer are compiled once, in json.cpp: as templates they cost every file seconds.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/json_types.h"

namespace canvaslab {

/// The value of a JSON text. Malformed text gives a discarded value (no object, array, string ... to any is_*()), and
/// `problem`, when given, says what is wrong and where.
Json parse_json(std::string_view text, std::string* problem = nullptr);
OrderedJson parse_ordered_json(std::string_view text, std::string* problem = nullptr);

/// The value as JSON text on one line, or with `indent` spaces a level. Bytes that are no UTF-8 become U+FFFD.
std::string json_text(const Json& value, int indent = -1);
std::string json_text(const OrderedJson& value, int indent = -1);

}  // namespace canvaslab
