#pragma once
// Tools that a conversation offers the model, as a chat template takes them.
#include <string>

#include "core/text/chat.h"

namespace canvaslab {

/// An array of function declarations from a JSON file: {"type": "function", "function": {"name": ..., "description": ...,
/// "parameters": JSON schema}} each, or that inner object alone, which is then wrapped as transformers expects it.
/// Errors: input, naming the file and the entry, when it is no such array, is empty, or a name occurs twice.
OrderedJson read_tools(const std::string& path);

/// Errors: usage when `text` has no chat template, or one that leaves tools out of the prompt: they would go unseen.
void check_takes_tools(const TextModel& text, const OrderedJson& tools, const std::string& where);

}  // namespace canvaslab
