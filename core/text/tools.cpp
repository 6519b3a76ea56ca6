#include "core/text/tools.h"

#include <set>

#include "core/error.h"
#include "core/json.h"

namespace canvaslab {

OrderedJson read_tools(const std::string& path) {
  const OrderedJson given = parse_ordered_json(read_text_file(path));
  if (!given.is_array() || given.empty()) throw input_error("{}: expected a JSON array of function declarations, got {}", path, given.is_discarded() ? "malformed JSON" : given.is_array() ? "an empty one" : given.type_name());
  OrderedJson out = OrderedJson::array();
  std::set<std::string> names;
  for (size_t i = 0; i < given.size(); ++i) {
    const OrderedJson& entry = given[i];
    const bool wrapped = entry.is_object() && entry.contains("function");
    if (wrapped && entry.contains("type") && entry["type"] != "function") throw input_error("{}: tool {}: type is {}; only \"function\" is known", path, i, json_text(entry["type"]));
    const OrderedJson& function = wrapped ? entry["function"] : entry;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
      throw input_error("{}: tool {}: expected an object with a name, such as {{\"type\": \"function\", \"function\": {{\"name\": \"get_weather\", \"parameters\": {{...}}}}}}", path, i);
    if (function.contains("parameters") && !function["parameters"].is_object()) throw input_error("{}: tool {}: parameters must be a JSON schema, an object", path, i);
    if (!names.insert(function["name"].get<std::string>()).second) throw input_error("{}: tool {}: '{}' is declared twice", path, i, function["name"].get<std::string>());
    out.push_back(wrapped ? entry : OrderedJson{{"type", "function"}, {"function", function}});
  }
  return out;
}

void check_takes_tools(const TextModel& text, const OrderedJson& tools, const std::string& where) {
  if (!text.has_chat()) throw usage_error("{}: tools need a chat template, and the model has none", where);
  const OrderedJson turns = OrderedJson::array({{{"role", "user"}, {"content", "Hello"}}});
  if (text.conversation(turns, tools, {}) == text.conversation(turns, nullptr, {})) throw usage_error("{}: the model's chat template leaves tools out of the prompt, so they would have no effect", where);
}

}  // namespace canvaslab
