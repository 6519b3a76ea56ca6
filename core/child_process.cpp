#include "core/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace canvaslab {
namespace {

constexpr size_t kTailBytes = 4096;

/// Spawn attributes and file actions that go away with the scope.
struct SpawnSetup {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSetup(int socket, int error) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, socket, 0);
    ::posix_spawn_file_actions_adddup2(&actions, socket, 1);
    ::posix_spawn_file_actions_adddup2(&actions, error, 2);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);  // a journal's lock is not the program's to keep
    ::posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    ::sigemptyset(&none);
    ::sigemptyset(&defaults);
    for (const int signal : {SIGPIPE, SIGINT, SIGTERM}) ::sigaddset(&defaults, signal);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

std::runtime_error system_failure(const char* what, int code) { return std::runtime_error(fmt::format("{}: {}", what, std::strerror(code))); }

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& words) {
  int ends[2], errors[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw system_failure("no socket for it", errno);
  socket_ = ends[0];
  if (::pipe2(errors, O_CLOEXEC) != 0) {
    ::close(ends[0]), ::close(ends[1]);
    throw system_failure("no pipe for it", errno);
  }
  stderr_ = errors[0];
  ::fcntl(stderr_, F_SETFL, O_NONBLOCK);
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const SpawnSetup setup(ends[1], errors[1]);
  const int failed = ::posix_spawnp(&pid_, arguments[0], &setup.actions, &setup.attributes, arguments.data(), environ);
  ::close(ends[1]), ::close(errors[1]);
  if (failed == 0) return;
  ::close(socket_), ::close(stderr_);
  throw system_failure("cannot be started", failed);
}

ChildProcess::~ChildProcess() {
  close_input();
  if (!reap(std::chrono::seconds(1))) kill();
  if (socket_ >= 0) ::close(socket_);
  ::close(stderr_);
}

void ChildProcess::close_input() {
  if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
}

void ChildProcess::kill() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);  // with whatever it started
  reap(std::chrono::seconds(10));
}

/// True when the process is gone; waits for that at most so long.
bool ChildProcess::reap(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (pid_ >= 0) {
    const pid_t gone = ::waitpid(pid_, &status_, WNOHANG);
    if (gone != 0 && !(gone < 0 && errno == EINTR)) pid_ = -1;
    else if (std::chrono::steady_clock::now() > deadline) return false;
    else std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void ChildProcess::drain_stderr() {
  char buffer[4096];
  for (ssize_t n; (n = ::read(stderr_, buffer, sizeof buffer)) > 0;) {
    tail_.append(buffer, static_cast<size_t>(n));
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  }
}

std::string ChildProcess::stderr_tail() {
  drain_stderr();
  return tail_;
}

void ChildProcess::throw_ended() {
  if (!reap(std::chrono::seconds(1))) throw std::runtime_error("it closed its end");
  if (WIFSIGNALED(status_)) throw std::runtime_error(fmt::format("it was ended by signal {} ({})", WTERMSIG(status_), ::strsignal(WTERMSIG(status_))));
  throw std::runtime_error(fmt::format("it ended with exit code {}", WEXITSTATUS(status_)));
}

/// Waits until the socket can be read, or written, and keeps what comes on standard error meanwhile.
void ChildProcess::wait_ready(bool writing, Deadline deadline) {
  bool errors_open = true;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) throw std::runtime_error("it did not answer in time");
    pollfd ready[2] = {{.fd = socket_, .events = static_cast<short>(writing ? POLLOUT : POLLIN), .revents = 0},
                       {.fd = errors_open ? stderr_ : -1, .events = POLLIN, .revents = 0}};
    const int polled = ::poll(ready, 2, static_cast<int>(std::min<int64_t>(left, 1'000'000)));
    if (polled < 0 && errno != EINTR) throw system_failure("poll", errno);
    if (polled <= 0) continue;
    if (ready[1].revents & POLLIN) drain_stderr();
    else if (ready[1].revents) errors_open = false;
    if (ready[0].revents) return;
  }
}

void ChildProcess::send(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    else if (errno == EAGAIN || errno == EWOULDBLOCK) wait_ready(true, deadline);
    else if (errno == EPIPE || errno == ECONNRESET) throw_ended();
    else if (errno != EINTR) throw system_failure("it cannot be written to", errno);
  }
}

void ChildProcess::receive(char* to, size_t size, Deadline deadline) {
  while (size > 0) {
    const ssize_t n = ::recv(socket_, to, size, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) throw_ended();
    if (n > 0) to += n, size -= static_cast<size_t>(n);
    else if (errno == EAGAIN || errno == EWOULDBLOCK) wait_ready(false, deadline);
    else if (errno != EINTR) throw system_failure("it cannot be read from", errno);
  }
}

std::string ChildProcess::exchange(const std::string& question, size_t most_bytes, Deadline deadline) {
  char early;
  const ssize_t unasked = ::recv(socket_, &early, 1, MSG_PEEK | MSG_DONTWAIT);
  if (unasked > 0) throw std::runtime_error("it writes without being asked; its standard output carries answers alone, messages belong on standard error");
  if (unasked == 0) throw_ended();
  if (question.size() > UINT32_MAX) throw std::runtime_error("the question is longer than 4 GiB");
  const auto length = static_cast<uint32_t>(question.size());
  send(std::string(reinterpret_cast<const char*>(&length), sizeof length) + question, deadline);  // one write: one wake-up of the reader
  uint32_t announced = 0;
  receive(reinterpret_cast<char*>(&announced), sizeof announced, deadline);
  if (announced > most_bytes)
    throw std::runtime_error(fmt::format("it announces an answer of {} bytes where at most {} can come; its standard output carries answers alone, messages belong on standard error", announced, most_bytes));
  std::string answer(announced, '\0');
  receive(answer.data(), answer.size(), deadline);
  return answer;
}

}  // namespace canvaslab
