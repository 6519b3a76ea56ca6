#pragma once
// One untrusted program in a sandbox: bubblewrap's namespaces, a system-call filter, limits, and pipes to talk through.
// The program sees an interpreter, its libraries and the files given here, all read-only; no network, no other process, no
// /proc; it ends with us, and whatever it left behind ends with it. Verdicts are never made inside.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/sandbox/control_group.h"
#include "eval/sandbox/isolation.h"
#include "eval/sandbox/launch.h"

namespace canvaslab {

struct SandboxLimits {
  double cpu_seconds = 10;                         ///< of each process; whole seconds, rounded up, and one more for what ignores that
  double wall_seconds = 30;                        ///< from start to end
  int64_t memory_bytes = int64_t{4} << 30;         ///< of all its processes where control groups are, else of each
  int64_t stdout_bytes = int64_t{64} << 20;        ///< more ends it
  int64_t stderr_bytes = int64_t{1} << 20;         ///< more ends it
  int64_t message_bytes = int64_t{64} << 20;       ///< of one message; more ends it
  int64_t scratch_bytes = 0;                       ///< of /tmp; 0: nothing can be written. Needs control groups, else 0
  int max_tasks = 64;                              ///< threads and processes
  bool may_fork = false;                           ///< new processes, where control groups bound them; threads are always allowed
};

struct SandboxJob {
  std::vector<std::string> arguments;                          ///< of the interpreter
  std::vector<std::pair<std::string, std::string>> files = {}; ///< absolute path inside, and content
  std::string input = "";                                      ///< standard input, a file
  SandboxLimits limits = {};
};

enum class SandboxEnd { kRunning, kExited, kSignalled, kCpuLimit, kWallLimit, kMemoryLimit, kOutputLimit, kStopped };
std::string_view sandbox_end_name(SandboxEnd end);

/// What became of a program. Exit codes and texts are its own claims.
struct SandboxOutcome {
  SandboxEnd end = SandboxEnd::kRunning;
  int code = 0;                ///< exit code, or number of the signal
  std::string out, err;        ///< at most the limits
  double cpu_seconds = 0, wall_seconds = 0;
};

/// A program while it runs. One thread talks to it. Messages go in at descriptor 3 and come out at descriptor 4, each 4
/// bytes of length (little-endian) and as many bytes.
class SandboxedProgram {
 public:
  /// Errors: std::runtime_error when the sandbox itself cannot be set up; usage for may_fork without control groups.
  SandboxedProgram(std::shared_ptr<const Isolation> isolation, const SandboxJob& job);
  /// Ends it and everything it started.
  ~SandboxedProgram();
  SandboxedProgram(const SandboxedProgram&) = delete;
  SandboxedProgram& operator=(const SandboxedProgram&) = delete;

  /// Sends a message and waits for one. Nothing: the program ended, or was ended for `seconds` or a limit; see finish().
  std::optional<std::string> exchange(std::string_view message, double seconds);
  /// Waits for the next message without sending one.
  std::optional<std::string> receive(double seconds) { return exchange_bytes({}, seconds); }
  /// It has to end within this time from now; replaces the limit that holds since its start.
  void allow(double seconds);
  /// Waits for its end. Errors: std::runtime_error when the sandbox, not the program, failed.
  const SandboxOutcome& finish();
  /// Ends it now.
  const SandboxOutcome& stop();
  const std::string& output() const { return outcome_.out; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Stream {
    Descriptor fd;
    std::string* into;
    int64_t most;
  };
  std::optional<std::string> exchange_bytes(std::string bytes, double seconds);
  std::optional<std::string> take_message();
  /// Moves bytes until `deadline` or until something happened. False: the program is gone.
  bool turn(Clock::time_point deadline);
  void read_stream(Stream& stream);
  void write_requests();
  void end(SandboxEnd cause);
  void reap();
  double reap_inner() const;
  pid_t inner_pid() const;

  std::shared_ptr<const Isolation> isolation_;
  SandboxLimits limits_;
  std::shared_ptr<ControlGroup> group_;
  int64_t memory_kills_before_ = 0;
  double cpu_before_kill_ = 0;
  Clock::time_point start_, wall_deadline_;
  pid_t pid_ = -1;
  Descriptor process_, requests_;
  std::vector<Stream> streams_;
  std::string replies_, status_, pending_;
  SandboxOutcome outcome_;
  SandboxEnd cause_ = SandboxEnd::kRunning;  ///< why we ended it, when we did
};

/// Runs a program that is told everything at its start, to its end.
SandboxOutcome run_in_sandbox(std::shared_ptr<const Isolation> isolation, const SandboxJob& job);

}  // namespace canvaslab
