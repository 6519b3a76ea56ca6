#pragma once
// Users' mistakes as exceptions whose text is fit to print.
#include <fmt/core.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab {

/// What the program returns to its caller. The values are part of the command line's contract.
enum class ExitCode : int { kDone = 0, kUsage = 2, kBadInput = 3, kSomeFailed = 4, kInterrupted = 130 };

/// A mistake in what the user gave: the message says what, where, what was expected and what to do, one thought a line.
/// Only the program's main prints it; the library throws.
class UserError : public std::runtime_error {
 public:
  UserError(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// Wrong option, name, value or configuration (exit code 2).
template <typename... Args>
UserError usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return UserError(ExitCode::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

/// Unreadable or malformed file (exit code 3).
template <typename... Args>
UserError input_error(fmt::format_string<Args...> format, Args&&... args) {
  return UserError(ExitCode::kBadInput, fmt::format(format, std::forward<Args>(args)...));
}

/// "; did you mean 'x'?" for the candidate nearest to `name` by edit distance, or "" when none is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

/// "a, b, c".
std::string joined(const std::vector<std::string>& names);

/// Lower case with '-' turned into '_': the form in which names are compared.
std::string canonical_name(std::string_view name);

}  // namespace canvaslab
