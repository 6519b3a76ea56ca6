#include "experiments/isolated.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace canvaslab {
namespace {

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
}

/// Reads to the end of the pipe; false when that takes too long.
bool read_all(int fd, int timeout_s, std::string& out) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
  char buffer[4096];
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    struct pollfd ready {.fd = fd, .events = POLLIN, .revents = 0};
    const int polled = left > 0 ? ::poll(&ready, 1, static_cast<int>(left)) : 0;
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return false;
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    out.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

std::string isolated(const std::function<std::string()>& run, int timeout_s) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    ::close(ends[0]);
    write_all(ends[1], "." + run());  // the dot says that it came to its end
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string answer;
  const bool in_time = read_all(ends[0], timeout_s, answer);
  ::close(ends[0]);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) return fmt::format("it did not end within {} s", timeout_s);
  if (WIFSIGNALED(status)) return fmt::format("it crashed the program with signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  if (answer.empty() || WEXITSTATUS(status) != 0) return fmt::format("it ended the program with exit code {}", WEXITSTATUS(status));
  return answer.substr(1);
}

}  // namespace canvaslab
