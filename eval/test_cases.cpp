#include "eval/test_cases.h"

#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/packed_text.h"

namespace canvaslab {
namespace {

void add_cases(const Json& list, const std::string& where, std::vector<TestCase>& out) {
  if (!list.is_array()) throw input_error("{}: expected a JSON array of test cases, got {}", where, list.is_discarded() ? "malformed JSON" : list.type_name());
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonFields fields(list[i], fmt::format("{}[{}]", where, i));
    out.push_back({.input = fields.text("input"), .output = fields.text("output")});
  }
}

/// JSON as it stands, else packed. Errors name the field.
Json private_cases(const std::string& text, const std::string& where) {
  if (Json plain = parse_json(text); !plain.is_discarded()) return plain;
  try {
    return parse_json(unpacked_text(text));
  } catch (const UserError& problem) {
    throw input_error("{}: neither JSON nor packed JSON: {}", where, problem.what());
  }
}

}  // namespace

ProgramTests program_tests_of(const DataRow& row) {
  const JsonFields fields(row.fields, row.where);
  ProgramTests out;
  add_cases(parse_json(fields.text("public_test_cases")), fields.at("public_test_cases"), out.cases);
  add_cases(private_cases(fields.text("private_test_cases"), fields.at("private_test_cases")), fields.at("private_test_cases"), out.cases);
  if (out.cases.empty()) throw input_error("{}the item has no test cases; nothing can be scored by it", row.where);
  if (const std::string metadata = fields.text_or("metadata", ""); !metadata.empty()) {
    const Json facts = parse_json(metadata);
    out.function = JsonFields(facts, fields.at("metadata")).text_or("func_name", "");
  }
  return out;
}

}  // namespace canvaslab
