#include "experiments/sweep_setup.h"

#include <fstream>

#include "core/error.h"
#include "core/model.h"
#include "core/text/chat.h"

namespace canvaslab {

PromptEncoder prompt_encoder(const std::string& model, const std::string& tokenizer) {
  const std::string from = tokenizer.empty() ? text_folder(model) : tokenizer;
  if (from.empty()) return nullptr;
  auto loaded = TextModel::load(from);
  if (loaded) return std::make_shared<const TextModel>(std::move(*loaded));
  if (!tokenizer.empty()) throw input_error("{}: expected a tokenizer.json, or a folder that holds one", tokenizer);
  return nullptr;
}

std::string command_line() {
  std::ifstream in("/proc/self/cmdline");
  std::string out;
  for (std::string word; std::getline(in, word, '\0');) {
    const bool plain = word.find_first_of(" '\"()*$;&|<>") == std::string::npos && !word.empty();
    out += (out.empty() ? "" : " ") + (plain ? word : "'" + word + "'");
  }
  return out;
}

}  // namespace canvaslab
