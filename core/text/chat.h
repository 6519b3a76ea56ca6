#pragma once
// Conversations to prompts: the checkpoint's chat template, then its tokenizer.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json_types.h"
#include "core/text/jinja.h"
#include "core/text/tokenizer.h"

namespace canvaslab {

struct ChatOptions {
  bool thinking = false;               ///< the template's enable_thinking
  bool add_generation_prompt = true;
};

/// A checkpoint's chat template with the names it may use (bos_token and the like).
class ChatTemplate {
 public:
  /// From chat_template.jinja, or chat_template in tokenizer_config.json; nothing when the folder has neither.
  /// Errors: input error naming file and line.
  static std::optional<ChatTemplate> load(const std::string& folder);

  /// `messages`: array of objects with role and content. `tools`: array, or null for none.
  /// Errors: input error for malformed messages, and what the template raises.
  std::string render(const OrderedJson& messages, const OrderedJson& tools, const ChatOptions& options) const;

 private:
  ChatTemplate(JinjaTemplate form, jinja::Dict names) : template_(std::move(form)), names_(std::move(names)) {}
  JinjaTemplate template_;
  jinja::Dict names_;  ///< special tokens by name
};

/// What a checkpoint folder offers for text: its tokenizer and, if there is one, its chat template.
class TextModel {
 public:
  /// Nothing when the folder has no tokenizer.json. A tokenizer.json itself will do; it has no chat template.
  static std::optional<TextModel> load(const std::string& path);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  bool has_chat() const { return chat_.has_value(); }
  /// A plain text as it is, or with `chat` as the user's message.
  std::vector<int32_t> prompt(const std::string& text, bool chat, const ChatOptions& options) const;
  /// Errors: input error when there is no chat template.
  std::vector<int32_t> conversation(const OrderedJson& messages, const OrderedJson& tools, const ChatOptions& options) const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<ChatTemplate> chat_;
};

}  // namespace canvaslab
