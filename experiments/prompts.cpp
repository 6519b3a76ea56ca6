#include "experiments/prompts.h"

#include <fstream>
#include <limits>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/model.h"
#include "core/params.h"
#include "core/text/tools.h"

namespace canvaslab {
namespace {

class PromptReader {
 public:
  PromptReader(const PromptArguments& a, const std::optional<TextModel>& text) : a_(a), text_(text) {
    if (a.tools.empty()) return;
    if (a.has_ids || !a.chat) throw usage_error("--tools goes through the chat template, and {} does not; leave one of them out", a.has_ids ? "--prompt-ids" : "--no-chat");
    tools_ = read_tools(a.tools);
    check_takes_tools(model(), tools_, "--tools");
  }

  std::vector<int32_t> from_text(const std::string& prompt) const { return from_text(prompt, tools_); }
  std::vector<int32_t> from_text(const std::string& prompt, const OrderedJson& tools) const {
    if (!tools.is_null()) return model().conversation(OrderedJson::array({{{"role", "user"}, {"content", prompt}}}), tools, options());
    return model().prompt(prompt, model().has_chat() && a_.chat, options());
  }

  /// One line of a JSONL file.
  std::vector<int32_t> from_object(const OrderedJson& object) const {
    if (!object.is_object()) throw input_error("expected a JSON object, got {}", object.is_discarded() ? "malformed JSON" : object.type_name());
    if (object.contains("prompt_ids")) return ids(object["prompt_ids"]);
    const OrderedJson tools = object.value("tools", tools_);
    if (object.contains("tools")) {
      if (!a_.chat) throw usage_error("tools go through the chat template, and --no-chat does not; leave one of them out");
      check_takes_tools(model(), tools, "tools");
    }
    if (object.contains("messages")) return model().conversation(object["messages"], tools, options());
    if (!object.contains("prompt")) throw input_error("the object has neither 'prompt', 'messages' nor 'prompt_ids'");
    if (!object["prompt"].is_string()) throw input_error("prompt must be a string, got {}", object["prompt"].type_name());
    return from_text(object["prompt"].get<std::string>(), tools);
  }

 private:
  const TextModel& model() const {
    if (!text_) throw usage_error("model '{}' has no tokenizer.json, so text prompts cannot be read; give --prompt-ids \"2 17 9\"", a_.model);
    return *text_;
  }
  ChatOptions options() const { return {.thinking = a_.thinking}; }

  static std::vector<int32_t> ids(const OrderedJson& list) {
    if (!list.is_array()) throw input_error("prompt_ids must be an array of whole numbers");
    std::vector<int32_t> out;
    for (const auto& id : list) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) throw input_error("prompt_ids must hold token ids, got {}", json_text(id));
      out.push_back(id.get<int32_t>());
    }
    return out;
  }

  const PromptArguments& a_;
  const std::optional<TextModel>& text_;
  OrderedJson tools_ = nullptr;
};

}  // namespace

std::optional<TextModel> load_text(const std::string& model) {
  const std::string folder = text_folder(model);
  return folder.empty() ? std::nullopt : TextModel::load(folder);
}

std::vector<int32_t> parse_ids(const std::string& text, const std::string& what) {
  std::vector<int32_t> out;
  std::string spaced = text;
  for (char& c : spaced)
    if (c == ',') c = ' ';
  std::istringstream in(spaced);
  for (std::string word; in >> word;) {
    const int64_t id = parse_integer(word, what);
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) throw usage_error("{}: {} is no token id", what, id);
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

std::vector<std::vector<int32_t>> read_prompts(const PromptArguments& a, const std::optional<TextModel>& text) {
  const PromptReader reader(a, text);
  if (a.chat_asked && a.chat && !(text && text->has_chat()))
    throw usage_error("--chat: model '{}' has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); leave --chat out", a.model);
  if (a.thinking && (a.has_ids || !a.chat || !(text && text->has_chat())))
    throw usage_error("--thinking is a switch of the chat template, and {}; leave --thinking out", a.has_ids ? "--prompt-ids goes around it" : !a.chat ? "--no-chat goes around it" : fmt::format("model '{}' has none", a.model));
  if (a.has_ids) return {parse_ids(a.prompt_ids, "--prompt-ids")};
  if (a.has_prompt) return {reader.from_text(a.prompt)};
  if (!a.prompt_file.empty()) {
    std::ifstream probe(a.prompt_file);
    if (!probe) throw input_error("{}: cannot be opened; expected a text file", a.prompt_file);
    return {reader.from_text(read_text_file(a.prompt_file))};
  }
  if (a.jsonl.empty()) {
    if (text)
      throw usage_error("there is no prompt for model '{}', which reads text; expected --prompt TEXT, --prompt-file F, --prompt-ids \"2 17 9\" or --jsonl F\n"
                        "--prompt-ids '' starts from nothing at all", a.model);
    return {{}};  // sources and recordings need none
  }
  std::ifstream in(a.jsonl);
  if (!in) throw input_error("{}: cannot be opened; expected one JSON object a line with prompt, messages or prompt_ids", a.jsonl);
  std::vector<std::vector<int32_t>> out;
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      out.push_back(reader.from_object(parse_ordered_json(line)));
    } catch (const UserError& error) {
      throw UserError(error.code(), fmt::format("{}:{}: {}", a.jsonl, number, error.what()));
    }
  }
  if (out.empty()) throw input_error("{}: holds no prompts", a.jsonl);
  return out;
}

}  // namespace canvaslab
