#pragma once
// Code from outside the program: its hashes are part of what a sample depends on.
#include <functional>
#include <string>
#include <vector>

#include "core/params.h"

namespace canvaslab {

/// Says for plug-ins of this name (of any kind) which code an expression runs, for example "sha256:0a1b...", or
/// "" for none. Before any plan is resolved.
void add_foreign_code(const std::string& name, std::function<std::string(const PluginExpr&)> describe);

/// What canonical expressions run from outside the program, plug-ins inside plug-ins included: "name sha256:..., ...",
/// sorted, each once; "" when everything is built in. A text that happens to spell such a name is taken for one: a key
/// that holds too much costs a rerun, one that holds too little a wrong result.
std::string foreign_code(const std::vector<std::string>& canonical_expressions);

}  // namespace canvaslab
