#pragma once
// Lists of token ids as parameters.
#include <string>
#include <vector>

#include "core/params.h"

namespace canvaslab {

/// A text parameter for token ids separated by blanks or commas; empty: none.
ParamSpec token_ids_param(const std::string& name, const std::string& doc);
/// Its value. Errors (usage): words that are no ids; they name the plug-in and the parameter.
std::vector<int32_t> token_ids(const Options& options, const std::string& name);
bool contains(const std::vector<int32_t>& ids, int32_t token);

}  // namespace canvaslab
