#pragma once
// What commands that prepare a sweep share.
#include <string>

#include "eval/sweep.h"

namespace canvaslab {

/// The tokenizer in `tokenizer` (a file or a folder), else the one in the model's folder; null without one. Text prompts go
/// through its chat template, or as they are when it has none. Errors: input when `tokenizer` names nothing.
PromptEncoder prompt_encoder(const std::string& model, const std::string& tokenizer = "");

/// The command as it was typed, words with blanks quoted; empty where /proc is missing.
std::string command_line();

}  // namespace canvaslab
