// prompts - a JSONL of prompts without answers: speed, and agreement with a reference configuration.
#include <fstream>
#include <set>


#include "core/digest.h"
#include "core/error.h"
#include "core/json.h"
#include "eval/dataset.h"

namespace canvaslab {
namespace {

/// One object a line: {"prompt": "..."} or {"prompt_ids": [..]}, optional "id" and "category" (for subsets). The score is the number of tokens written;
/// what matters is computed at aggregation from stored ids.
class Prompts final : public Dataset {
 public:
  explicit Prompts(const Options& options) : path_(options.text("path")) {
    if (path_.empty()) throw usage_error("data set 'prompts' needs path=FILE.jsonl, one object a line with prompt or prompt_ids");
  }
  std::vector<Example> load() const override {
    std::ifstream in(path_);
    if (!in) throw input_error("{}: cannot be opened; expected a JSONL file, one object a line with prompt or prompt_ids", path_);
    std::vector<Example> out;
    std::set<std::string> ids;
    std::string line;
    for (size_t number = 1; std::getline(in, line); ++number) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const auto object = parse_json(line);
      if (!object.is_object()) throw input_error("{}:{}: expected a JSON object, got {}", path_, number, object.is_discarded() ? "malformed JSON" : object.type_name());
      Example example;
      example.id = object.contains("id") ? (object["id"].is_string() ? object["id"].get<std::string>() : json_text(object["id"])) : fmt::format("line-{}", number);
      if (!ids.insert(example.id).second) throw input_error("{}:{}: id '{}' occurs twice", path_, number, example.id);
      if (object.contains("category")) {
        if (!object["category"].is_string()) throw input_error("{}:{}: category must be a text, got {}", path_, number, object["category"].dump());
        example.category = object["category"];
      }
      if (object.contains("prompt_ids")) {
        if (!object["prompt_ids"].is_array()) throw input_error("{}:{}: prompt_ids must be an array of whole numbers", path_, number);
        for (const auto& id : object["prompt_ids"]) {
          if (!id.is_number_integer()) throw input_error("{}:{}: prompt_ids must hold whole numbers, got {}", path_, number, json_text(id));
          example.prompt_ids.push_back(id.get<int32_t>());
        }
        example.has_ids = true;
      } else if (object.contains("prompt") && object["prompt"].is_string()) {
        example.prompt_text = object["prompt"];
      } else {
        throw input_error("{}:{}: the object has neither a text 'prompt' nor 'prompt_ids'", path_, number);
      }
      out.push_back(std::move(example));
    }
    if (out.empty()) throw input_error("{}: holds no prompts", path_);
    return out;
  }
  ScoreFacts score_facts() const override { return {.name = "num_tokens", .unit = "tokens", .higher_is_better = true, .metrics = {}}; }
  Score score(const Example&, std::span<const int32_t> tokens, const Denoiser&) const override {
    return {.value = static_cast<double>(tokens.size()), .metrics = {}};
  }
  std::string content_hash() const override {
    std::ifstream in(path_, std::ios::binary);
    return hex(sha256(std::string(std::istreambuf_iterator<char>(in), {})));
  }

 private:
  std::string path_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "prompts",
    .summary = "a JSONL of prompts without answers: speed and agreement with a reference configuration",
    .source = "ours",
    .aliases = {"jsonl_prompts"},
    .parameters = {text_param("path", "", "JSONL file, one object a line with prompt or prompt_ids")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Prompts>(options); }});

}  // namespace
}  // namespace canvaslab
