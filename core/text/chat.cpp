#include "core/text/chat.h"

#include <filesystem>

#include "core/error.h"
#include "core/json.h"

namespace canvaslab {
namespace {

/// A JSON file of the folder, or an empty object when it is not there.
OrderedJson read_json(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return OrderedJson::object();
  std::string problem;
  OrderedJson out = parse_ordered_json(read_text_file(path.string()), &problem);
  if (out.is_discarded()) throw input_error("{}: malformed JSON; expected an object\n{}", path.string(), problem);
  if (!out.is_object()) throw input_error("{}: expected a JSON object", path.string());
  return out;
}

/// Special tokens are written as strings or as objects with their content.
void add_special_tokens(const OrderedJson& file, jinja::Dict& names) {
  for (const auto& [key, value] : file.items()) {
    if (!key.ends_with("_token")) continue;
    if (value.is_string()) names.set(jinja::Value::text(key), jinja::Value::text(value.get<std::string>()));
    else if (value.is_object() && value.contains("content") && value["content"].is_string())
      names.set(jinja::Value::text(key), jinja::Value::text(value["content"].get<std::string>()));
  }
}

/// The template text in tokenizer_config.json: a string, or a list of named ones of which "default" counts.
std::optional<std::string> configured_template(const OrderedJson& config, const std::string& where) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const auto& entry : *found)
      if (entry.is_object() && entry.value("name", OrderedJson()) == "default" && entry.contains("template") && entry["template"].is_string()) return entry["template"].get<std::string>();
  throw input_error("{}: chat_template: expected a string, or a list with an entry named 'default'", where);
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::load(const std::string& folder) {
  const std::filesystem::path root = folder;
  const auto file = root / "chat_template.jinja", config_file = root / "tokenizer_config.json";
  const OrderedJson config = read_json(config_file);
  std::error_code ignored;
  std::string name = file.string();
  std::optional<std::string> source;
  if (std::filesystem::exists(file, ignored)) {
    source = read_text_file(name);
  } else {
    name = config_file.string() + ": chat_template";
    source = configured_template(config, config_file.string());
  }
  if (!source) return std::nullopt;
  jinja::Dict names;
  add_special_tokens(read_json(root / "special_tokens_map.json"), names);
  add_special_tokens(config, names);
  return ChatTemplate(JinjaTemplate(std::move(*source), std::move(name)), std::move(names));
}

std::string ChatTemplate::render(const OrderedJson& messages, const OrderedJson& tools, const ChatOptions& options) const {
  if (!messages.is_array() || messages.empty()) throw input_error("messages: expected an array of objects with role and content, not an empty one");
  for (size_t i = 0; i < messages.size(); ++i)
    if (!messages[i].is_object() || !messages[i].contains("role") || !messages[i]["role"].is_string())
      throw input_error("messages[{}]: expected an object with a role (system, user, assistant or tool) and content", i);
  if (!tools.is_null() && !tools.is_array()) throw input_error("tools: expected an array, got {}", tools.type_name());
  jinja::Dict variables = names_;
  const auto set = [&](const char* key, jinja::Value value) { variables.set(jinja::Value::text(key), std::move(value)); };
  set("messages", jinja::Value::from_json(messages));
  set("tools", jinja::Value::from_json(tools));
  set("documents", jinja::Value::none());
  set("add_generation_prompt", jinja::Value::boolean(options.add_generation_prompt));
  set("enable_thinking", jinja::Value::boolean(options.thinking));
  return template_.render(jinja::Value::mapping(std::move(variables)));
}

std::optional<TextModel> TextModel::load(const std::string& path) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  if (!std::filesystem::exists(folder ? std::filesystem::path(path) / "tokenizer.json" : std::filesystem::path(path), ignored)) return std::nullopt;
  TextModel out;
  out.tokenizer_ = std::make_shared<const Tokenizer>(Tokenizer::load(path));
  if (folder) out.chat_ = ChatTemplate::load(path);
  return out;
}

std::vector<int32_t> TextModel::prompt(const std::string& text, bool chat, const ChatOptions& options) const {
  if (!chat) return tokenizer_->encode(text);
  return conversation(OrderedJson::array({OrderedJson{{"role", "user"}, {"content", text}}}), nullptr, options);
}

std::vector<int32_t> TextModel::conversation(const OrderedJson& messages, const OrderedJson& tools, const ChatOptions& options) const {
  if (!chat_) throw input_error("messages need a chat template, and the checkpoint has none (chat_template.jinja, or chat_template in tokenizer_config.json)");
  return tokenizer_->encode(chat_->render(messages, tools, options));
}

}  // namespace canvaslab
