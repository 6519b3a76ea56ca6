#pragma once
// Plug-in libraries: shared objects with samplers, stop rules and schedules behind the C interface of plugin_abi.h.
#include <string>
#include <vector>

namespace canvaslab {

/// A loaded library and the names that it added to the registries.
struct PluginLibrary {
  std::string path;    ///< absolute
  std::string sha256;  ///< hex, of the file
  std::vector<std::string> samplers, stop_rules, schedules;
};

/// Loads a library and registers what it holds, all or nothing; a library loaded before is left as it is. From then on
/// its plug-ins are named, parsed, checked and listed like built-in ones, and the file's hash is part of the content key
/// of samples that use them. Not thread-safe: before any plan is read.
/// Errors: input (no such file, no shared object, no symbol canvaslab_plugin, another ABI version or struct size, fields
/// that make no sense), usage (a name that exists already).
const PluginLibrary& load_plugin_library(const std::string& path);

}  // namespace canvaslab
