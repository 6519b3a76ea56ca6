#include "experiments/sweep_setup.h"

#include <filesystem>
#include <fstream>

#include "core/text/chat.h"

namespace canvaslab {

PromptEncoder prompt_encoder(const std::string& model) {
  auto loaded = std::filesystem::is_directory(model) ? TextModel::load(model) : std::nullopt;
  if (!loaded) return {};
  const auto text = std::make_shared<const TextModel>(std::move(*loaded));
  return [text](const std::string& prompt) { return text->prompt(prompt, text->has_chat(), {}); };
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
