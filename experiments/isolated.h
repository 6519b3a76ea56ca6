#pragma once
// Running foreign code where it can do no harm to the program.
#include <functional>
#include <string>

namespace canvaslab {

/// What `run` returns, run in a copy of this process that may crash or hang: then how it ended instead. Call it from a
/// program of one thread.
std::string isolated(const std::function<std::string()>& run, int timeout_s);

}  // namespace canvaslab
