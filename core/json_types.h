#pragma once
// The two JSON types, declared: for headers. core/json.h defines them.
#include <nlohmann/json_fwd.hpp>

namespace canvaslab {

using Json = nlohmann::json;                 ///< keys in alphabetical order
using OrderedJson = nlohmann::ordered_json;  ///< keys in the order written

}  // namespace canvaslab
