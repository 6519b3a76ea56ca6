#pragma once
// A program that answers questions over its standard input and output: started, timed, killed, started anew.
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/params.h"

namespace canvaslab {

/// How an external program is run: the parameters that every external(...) plug-in has.
struct ExternalCommand {
  std::string command;          ///< words split at blanks, '...' and "..." keep theirs; run without a shell, found by PATH
  std::string parameters;       ///< passed on as written
  std::string depends;          ///< further files, by blanks, whose content matters
  double timeout_s = 60;        ///< for one answer
  double start_timeout_s = 120; ///< for the first one, which includes loading
  int64_t processes = 0;        ///< most at once; others wait. 0: one per thread that asks
  explicit ExternalCommand(const Options& options);
};
std::vector<ParamSpec> external_params();

/// Words of a command line: split at blanks; words in single or double quotes keep theirs. Nothing else is special.
/// Errors: usage (no word, an open quote).
std::vector<std::string> command_words(const std::string& command);

/// SHA-256 of the files that the command names, and of `depends`: "sha256:...", or "no file". Every word that is a file
/// counts; of the first word only when it is the only one (an interpreter is not the experiment). Modules that a script
/// imports are not seen: name them in `depends`. Errors: input, when a file of `depends` is missing.
std::string external_code(const ExternalCommand& command);

/// One program of one kind, with its processes. Thread-safe.
class ExternalProgram {
 public:
  virtual ~ExternalProgram() = default;
  /// The handshake's answer, the same from every process.
  virtual const std::string& handshake() const = 0;
  /// Asks a question and hands the answer, behind its status word and at most `most_bytes` long, to `read`. A process that
  /// hangs, dies, or answers what `read` throws std::exception at is killed; the next question goes to a fresh one.
  /// Errors: UserError (kSomeFailed) that names the command, says what happened and ends with what it wrote to stderr.
  virtual void ask(const std::string& question, size_t most_bytes, const std::function<void(std::string_view)>& read) = 0;
};

/// Starts the program and greets it, or finds it started by an equal call. `kind` is sampler, stop_rule or denoiser.
/// Errors: usage (it cannot be started, does not answer, answers nonsense).
std::shared_ptr<ExternalProgram> open_external(const ExternalCommand& command, const std::string& kind);

}  // namespace canvaslab
