#pragma once
// Prompts of generate: text or ids, one or a file of them.
#include <optional>
#include <string>
#include <vector>

#include "core/embedded_models.h"
#include "core/text/chat.h"

namespace canvaslab {

struct PromptArguments {
  std::string model = kDefaultModel, prompt, prompt_file, prompt_ids, jsonl;
  std::string tools;        ///< file with function declarations, or empty
  bool has_prompt = false, has_ids = false;
  bool chat = true, thinking = false;
  bool chat_asked = false;  ///< --chat was written, so a checkpoint without a template is an error
};

/// Tokenizer and chat template of a model, where it has any: a folder, an adapter, a plug-in expression, or the name of a
/// model that comes with the project.
std::optional<TextModel> load_text(const std::string& model);

/// Token ids from "2 17 9" or "2,17,9"; `what` names the option in errors.
std::vector<int32_t> parse_ids(const std::string& text, const std::string& what);

/// Prompts as token ids, in input order. `text`: the checkpoint's tokenizer and template, or nothing.
/// Without any: one empty prompt, of models that read no text.
/// Errors: usage when a text prompt meets a model without tokenizer, or none a model with one; input error naming file and line.
std::vector<std::vector<int32_t>> read_prompts(const PromptArguments& arguments, const std::optional<TextModel>& text);

}  // namespace canvaslab
