#include "experiments/plugins.h"

#include "samplers/plugin_library.h"

namespace canvaslab {

void add_plugin_option(const Command& command, std::vector<std::string>& paths) {
  command.option("--plugin", paths, "library with further plug-ins (canvaslab plugin new); may be repeated").one_each();
}

void load_plugins(const std::vector<std::string>& paths) {
  for (const auto& path : paths) load_plugin_library(path);
}

}  // namespace canvaslab
