#pragma once
// A job that runs one of the texts that stand beside an untrusted program inside the sandbox.
#include <string>

#include "eval/sandbox/sandbox.h"
#include "eval/sandbox/texts.h"

namespace canvaslab {

/// An interpreter's start on a machine that is busy with other things.
inline constexpr double kStartSeconds = 20;

/// `shim`: a text of sandbox_text. `seconds`: from when it has started to its end, by the clock.
inline SandboxJob shim_job(const char* shim, double cpu_seconds, double seconds, int64_t memory_bytes) {
  return {.arguments = {"/box/main.py"},
          .files = {{"/box/main.py", std::string(sandbox_text::kFrames) + shim}},
          .limits = {.cpu_seconds = cpu_seconds, .wall_seconds = kStartSeconds + seconds, .memory_bytes = memory_bytes}};
}

}  // namespace canvaslab
