#pragma once
// What commands that prepare a sweep share.
#include <string>

#include "eval/sweep.h"

namespace canvaslab {

/// Text prompts go through the checkpoint's chat template, or as they are when it has none; empty without a tokenizer.
PromptEncoder prompt_encoder(const std::string& model);

/// The command as it was typed, words with blanks quoted; empty where /proc is missing.
std::string command_line();

}  // namespace canvaslab
