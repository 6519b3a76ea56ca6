#pragma once
// One child process with a socket for its standard input and output: frames with deadlines.
#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace canvaslab {

/// Starts in its own process group, so that Ctrl-C reaches only this program, which then ends it in order.
class ChildProcess {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  /// Errors: std::runtime_error when it cannot be started.
  explicit ChildProcess(const std::vector<std::string>& words);
  /// Closes its input and gives it a second to leave; then it is killed.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Sends a frame and receives one of at most `most_bytes`. After an error the process is of no use any more.
  /// Errors: std::runtime_error that says what it did: hung, ended, announced too much.
  std::string exchange(const std::string& question, size_t most_bytes, Deadline deadline);
  /// The end of what it wrote to standard error.
  std::string stderr_tail();
  void kill();
  /// Closes its input, so that several can leave side by side.
  void close_input();

 private:
  void wait_ready(bool writing, Deadline deadline);
  void send(std::string_view bytes, Deadline deadline);
  void receive(char* to, size_t size, Deadline deadline);
  void drain_stderr();
  [[noreturn]] void throw_ended();
  bool reap(std::chrono::milliseconds patience);

  pid_t pid_ = -1;
  int socket_ = -1, stderr_ = -1;
  int status_ = 0;
  std::string tail_;
};

}  // namespace canvaslab
