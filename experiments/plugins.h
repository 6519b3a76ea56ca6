#pragma once
// Plug-in libraries on the command line.
#include <string>
#include <vector>

#include "experiments/command_line.h"

namespace canvaslab {

/// Adds --plugin FOO.so to a command.
void add_plugin_option(const Command& command, std::vector<std::string>& paths);
/// Loads them, before any plug-in is named.
void load_plugins(const std::vector<std::string>& paths);

}  // namespace canvaslab
