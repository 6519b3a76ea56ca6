#include "core/json.h"

namespace canvaslab {
namespace {

template <typename Value>
Value parse(std::string_view text, std::string* problem) {
  if (!problem) return Value::parse(text, nullptr, false);
  try {
    return Value::parse(text);
  } catch (const typename Value::exception& error) {
    *problem = error.what();
    return Value(Value::value_t::discarded);
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string* problem) { return parse<Json>(text, problem); }
OrderedJson parse_ordered_json(std::string_view text, std::string* problem) { return parse<OrderedJson>(text, problem); }

std::string json_text(const Json& value, int indent) { return value.dump(indent, ' ', false, Json::error_handler_t::replace); }
std::string json_text(const OrderedJson& value, int indent) { return value.dump(indent, ' ', false, OrderedJson::error_handler_t::replace); }

}  // namespace canvaslab
