#include "experiments/sweep_setup.h"

#include <filesystem>
#include <fstream>

#include "core/embedded_models.h"
#include "core/error.h"
#include "core/text/chat.h"

namespace canvaslab {

PromptEncoder prompt_encoder(const std::string& name, const std::string& tokenizer) {
  const std::string model = model_folder(name);
  std::error_code ignored;
  if (tokenizer.empty() && !std::filesystem::is_directory(model, ignored)) return nullptr;
  auto loaded = TextModel::load(tokenizer.empty() ? model : tokenizer);
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
