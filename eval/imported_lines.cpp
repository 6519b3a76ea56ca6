#include "eval/imported_lines.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include "core/digest.h"
#include "core/error.h"
#include "core/json.h"

namespace canvaslab {
namespace {

/// What the two formats (and our own export) call by name; other numbers of a line are metrics.
const std::set<std::string> kFields = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash",
                                       "id", "completion", "repeat", "seed", "failed", "token_ids"};

/// One line with its place for errors.
class Line {
 public:
  Line(std::string where, const Json& object) : where_(std::move(where)), object_(object) {}
  [[noreturn]] void fail(const std::string& field, const std::string& what) const { throw input_error("{}: field '{}' {}", where_, field, what); }
  bool has(const std::string& field) const { return object_.contains(field) && !object_[field].is_null(); }
  const Json& at(const std::string& field) const {
    if (!object_.contains(field)) fail(field, "is missing");
    return object_[field];
  }
  /// A name: a text or a whole number.
  std::string name(const Json& value, const std::string& field) const {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_integer()) return json_text(value);
    fail(field, fmt::format("must be a text or a whole number, got {}", value.type_name()));
  }
  uint32_t repeat() const {
    if (!has("repeat")) return 0;
    const Json& value = at("repeat");
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > 1'000'000) fail("repeat", fmt::format("must be a whole number from 0, got {}", json_text(value)));
    return value.get<uint32_t>();
  }
  std::vector<int32_t> token_ids() const {
    const Json& list = at("token_ids");
    if (!list.is_array()) fail("token_ids", fmt::format("must be a list of token ids, got {}", list.type_name()));
    std::vector<int32_t> out;
    for (const auto& id : list) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) fail("token_ids", fmt::format("must hold token ids, got {}", json_text(id)));
      out.push_back(id.get<int32_t>());
    }
    return out;
  }
  /// True and the value; false for null. Errors for what is no number.
  bool number(const std::string& field, double& value) const {
    const Json& node = at(field);
    if (node.is_null()) return false;
    if (!node.is_number() && !node.is_boolean()) fail(field, fmt::format("is listed as a metric and must be a number, got {}", node.type_name()));
    value = node.is_boolean() ? (node.get<bool>() ? 1 : 0) : node.get<double>();
    return true;
  }
  std::vector<std::string> metric_names() const {
    std::vector<std::string> out;
    if (has("metrics")) {
      if (!at("metrics").is_array()) fail("metrics", fmt::format("must be a list of names, got {}", at("metrics").type_name()));
      for (const auto& metric : at("metrics")) {
        if (!metric.is_string()) fail("metrics", fmt::format("must hold names, got {}", json_text(metric)));
        out.push_back(metric.get<std::string>());
      }
    }
    if (!out.empty()) return out;
    for (const auto& [field, value] : object_.items())
      if (!kFields.contains(field) && (value.is_number() || value.is_boolean())) out.push_back(field);
    return out;
  }

 private:
  std::string where_;
  const Json& object_;
};

/// resps is a list over requests of lists over repeats of responses.
std::string first_response(const Line& line, bool& more) {
  const Json* at = &line.at("resps");
  for (int depth = 0; at->is_array(); ++depth) {
    if (at->empty()) line.fail("resps", "holds no response");
    if (depth > 0 && at->size() > 1 && (*at)[0].is_string() && (*at)[1].is_string()) more = true;
    if (depth >= 2) return json_text(*at);  // a log-likelihood with its flag: kept as it is written
    at = &(*at)[0];
  }
  if (!at->is_string()) line.fail("resps", fmt::format("must hold texts, got {}", at->type_name()));
  return at->get<std::string>();
}

std::string item_id(const Line& line, const Json& object, const std::string& field, const char* fallback) {
  if (field.empty()) return line.name(line.at(fallback), fallback);
  if (object.contains("doc") && object["doc"].is_object() && object["doc"].contains(field)) return line.name(object["doc"][field], "doc." + field);
  return line.name(line.at(field), field);
}

ImportedLine read_line(const std::string& where, const Json& object, const std::string& id_field, size_t& with_more) {
  const Line line(where, object);
  ImportedLine out;
  const bool harness = object.contains("doc_id");
  if (!harness && !object.contains("id") && id_field.empty())
    throw input_error("{}: has neither 'doc_id' (samples of lm-evaluation-harness) nor 'id' (with 'completion')", where);
  out.id = item_id(line, object, id_field, harness ? "doc_id" : "id");
  out.repeat = line.repeat();
  if (harness) {
    bool more = false;
    out.completion = first_response(line, more);
    with_more += more;
    if (line.has("filter")) out.filter = line.name(line.at("filter"), "filter");
    out.doc = line.has("doc_hash") ? line.name(line.at("doc_hash"), "doc_hash") : line.has("doc") ? json_text(line.at("doc")) : "";
  } else {
    const Json& completion = line.at("completion");
    if (!completion.is_string()) line.fail("completion", fmt::format("must be a text, got {}", completion.type_name()));
    out.completion = completion.get<std::string>();
  }
  if (line.has("token_ids")) out.token_ids = line.token_ids(), out.has_ids = true;
  if (line.has("failed")) {
    if (!line.at("failed").is_boolean()) line.fail("failed", "must be true or false");
    out.failed = line.at("failed").get<bool>();
  }
  for (const auto& name : line.metric_names()) {
    double value = std::numeric_limits<double>::quiet_NaN();
    out.failed = !line.number(name, value) || out.failed;
    out.metrics.emplace_back(name, value);
  }
  return out;
}

}  // namespace

ImportedFile read_imported(const std::string& path, const std::string& id_field) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw input_error("{}: cannot be opened; expected a JSONL file: samples of lm-evaluation-harness, or lines with id and completion", path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  ImportedFile out;
  out.path = path, out.sha256 = hex(sha256(text));
  std::map<std::tuple<std::string, std::string, uint32_t>, size_t> seen;
  size_t with_more = 0;
  std::istringstream lines(text);
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    std::string problem;
    const Json object = parse_json(line, &problem);
    if (!object.is_object()) throw input_error("{}: expected a JSON object, got {}", where, object.is_discarded() ? "malformed JSON: " + problem : object.type_name());
    ImportedLine one = read_line(where, object, id_field, with_more);
    one.number = number;
    const auto [at, fresh] = seen.insert({{one.id, one.filter, one.repeat}, number});
    if (!fresh)
      throw input_error("{}: id '{}'{} occurs twice, first in line {}\nseveral samples of an item need a field 'repeat' that counts from 0", where, one.id,
                        one.filter.empty() ? "" : fmt::format(" with filter '{}'", one.filter), at->second);
    if (!out.lines.empty() && one.metrics.size() != out.lines[0].metrics.size()) {
      const auto has = [](const ImportedLine& of, const std::string& name) { return std::any_of(of.metrics.begin(), of.metrics.end(), [&](const auto& m) { return m.first == name; }); };
      for (const auto& [name, value] : out.lines[0].metrics)
        if (!has(one, name)) throw input_error("{}: field '{}' is missing; line {} has it as a metric", where, name, out.lines[0].number);
      for (const auto& [name, value] : one.metrics)
        if (!has(out.lines[0], name)) throw input_error("{}: field '{}' is a metric here, but line {} has none of that name", where, name, out.lines[0].number);
    }
    out.lines.push_back(std::move(one));
  }
  if (out.lines.empty()) throw input_error("{}: holds no lines", path);
  if (with_more > 0) out.notes.push_back(fmt::format("{} lines hold several responses; the first of each is kept", with_more));
  return out;
}

}  // namespace canvaslab
