#include "eval/sandbox/verdict.h"

#include <array>
#include <fmt/format.h>

namespace canvaslab {
namespace {

constexpr std::array<std::string_view, 7> kNames = {"passed", "wrong_answer", "runtime_error", "time_limit", "memory_limit", "output_limit", "no_program"};

/// The last line that says something: where an interpreter puts the reason.
std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return "";
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, std::min<size_t>(end - (begin == std::string::npos ? 0 : begin + 1) + 1, 300));
}

ProgramEnd end_of(SandboxEnd end) {
  switch (end) {
    case SandboxEnd::kCpuLimit:
    case SandboxEnd::kWallLimit: return ProgramEnd::kTimeLimit;
    case SandboxEnd::kMemoryLimit: return ProgramEnd::kMemoryLimit;
    case SandboxEnd::kOutputLimit: return ProgramEnd::kOutputLimit;
    default: return ProgramEnd::kRuntimeError;
  }
}

}  // namespace

std::string_view program_end_name(ProgramEnd end) { return kNames[static_cast<size_t>(end)]; }
std::vector<std::string> program_end_names() { return {kNames.begin(), kNames.end()}; }

ProgramVerdict verdict_of_end(const SandboxOutcome& outcome) {
  ProgramVerdict out{.end = end_of(outcome.end), .detail = last_line(outcome.err), .cpu_seconds = outcome.cpu_seconds, .wall_seconds = outcome.wall_seconds, .limit = ""};
  if (out.end != ProgramEnd::kRuntimeError) out.limit = sandbox_end_name(outcome.end);
  else if (outcome.end == SandboxEnd::kSignalled) out.detail = fmt::format("signal {}", outcome.code);
  else if (out.detail.empty()) out.detail = fmt::format("exit code {}", outcome.code);
  return out;
}

}  // namespace canvaslab
