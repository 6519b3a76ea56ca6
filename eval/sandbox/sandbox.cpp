#include "eval/sandbox/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <ctime>
#include <map>
#include <mutex>
#include <stdexcept>

#include "core/error.h"
#include "eval/sandbox/call_filter.h"

namespace canvaslab {
namespace {

constexpr int kMessagesIn = 3, kMessagesOut = 4, kStatus = 5, kFilter = 6, kFirstFile = 7;
constexpr int64_t kStackBytes = int64_t{512} << 20;  // the interpreter recurses on it for some built-in functions
constexpr int kOpenFiles = 128;

/// Groups are made once and used again: making and removing one costs more than a small program.
std::shared_ptr<ControlGroup> borrow_group(int64_t memory_bytes, int max_tasks) {
  using Key = std::pair<int64_t, int>;
  struct Pool {
    std::mutex mutex;
    std::multimap<Key, std::unique_ptr<ControlGroup>> idle;
  };
  static Pool pool;
  const Key key{memory_bytes, max_tasks};
  std::unique_ptr<ControlGroup> group;
  {
    const std::lock_guard lock(pool.mutex);
    if (auto found = pool.idle.extract(key)) group = std::move(found.mapped());
  }
  if (!group) group = std::make_unique<ControlGroup>(memory_bytes, max_tasks);
  return {group.release(), [key](ControlGroup* used) {
            std::unique_ptr<ControlGroup> back(used);
            if (!back->clear(1)) return;
            const std::lock_guard lock(pool.mutex);
            pool.idle.emplace(key, std::move(back));
          }};
}

std::vector<std::pair<int, rlim_t>> process_limits(const SandboxLimits& limits, const SandboxJob& job, bool limits_memory_of_all) {
  const auto bytes = [](int64_t value) { return static_cast<rlim_t>(value); };
  // With a control group the address space may be larger than the memory: some libraries reserve much and touch little.
  const int64_t address_space = limits_memory_of_all ? limits.memory_bytes + (int64_t{4} << 30) : limits.memory_bytes;
  int64_t largest_file = limits.scratch_bytes;  // bubblewrap itself writes the files that are given
  for (const auto& [path, content] : job.files) largest_file = std::max(largest_file, static_cast<int64_t>(content.size()));
  return {{RLIMIT_CPU, static_cast<rlim_t>(std::ceil(limits.cpu_seconds))},
          {RLIMIT_AS, bytes(address_space)},
          {RLIMIT_STACK, bytes(std::min(kStackBytes, limits.memory_bytes / 4))},
          {RLIMIT_FSIZE, bytes(largest_file)},
          {RLIMIT_NOFILE, kOpenFiles},
          {RLIMIT_CORE, 0},
          {RLIMIT_MEMLOCK, 0},
          {RLIMIT_MSGQUEUE, 0}};
}

/// Computing time so far of a process and of what it started. The kernel forgets that of processes which end with their namespace.
double cpu_of_tree(pid_t pid, int depth = 0) {
  double out = 0;
  clockid_t clock = 0;
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &time) == 0) out = static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", pid));
  for (pid_t child; depth < 3 && children >> child;) out += cpu_of_tree(child, depth + 1);
  return out;
}

void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

/// write() to a pipe that nobody may read any more, without the signal that ends who does not ignore it. A socket would do
/// without this, but a program in the sandbox could ask and send through it more than through a pipe.
ssize_t write_quietly(int fd, std::string_view bytes) {
  sigset_t pipe, before, pending;
  ::sigemptyset(&pipe), ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  ::sigpending(&pending);
  const ssize_t count = ::write(fd, bytes.data(), bytes.size());
  const int code = errno;
  if (count < 0 && code == EPIPE && !::sigismember(&pending, SIGPIPE)) {
    const timespec now{};
    while (::sigtimedwait(&pipe, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return count;
}

std::string framed(std::string_view message) {
  std::string out;
  for (int byte = 0; byte < 4; ++byte) out += static_cast<char>(message.size() >> 8 * byte & 0xFF);
  return out += message;
}

/// A number behind "KEY": in what bubblewrap reports; -1 when it is not there (yet).
int reported(const std::string& status, const std::string& key) {
  const size_t at = status.find("\"" + key + "\"");
  if (at == std::string::npos) return -1;
  const size_t digits = status.find_first_of("0123456789", at);
  int value = -1;
  if (digits != std::string::npos) std::from_chars(status.data() + digits, status.data() + status.size(), value);
  return value;
}

double cpu_of(const struct rusage& usage) {
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Bubblewrap's outer process leaves before the inner one, which then becomes our child: its end is the end of everything
/// in the sandbox, and its times are the program's.
void become_subreaper() {
  static const int done = ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (done != 0) throw std::runtime_error("this program cannot look after what a sandbox leaves behind");
}

}  // namespace

std::string_view sandbox_end_name(SandboxEnd end) {
  constexpr std::array<std::string_view, 8> kNames = {"running", "exited", "signalled", "cpu_limit", "wall_limit", "memory_limit", "output_limit", "stopped"};
  return kNames[static_cast<size_t>(end)];
}

SandboxedProgram::SandboxedProgram(std::shared_ptr<const Isolation> isolation, const SandboxJob& job) : isolation_(std::move(isolation)), limits_(job.limits) {
  group_ = borrow_group(limits_.memory_bytes, limits_.max_tasks);
  memory_kills_before_ = group_->memory_kills();
  if (!group_->limits_memory()) limits_.scratch_bytes = 0;
  if (limits_.may_fork && !group_->limits_tasks()) throw usage_error("a sandboxed program may start processes only where a control group bounds their number, and there is none here");
  Launch plan;
  plan.words = {isolation_->bubblewrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"};
  for (const char* pair : {"PATH=/usr/bin", "HOME=/tmp", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"}) {
    const std::string_view text = pair;
    const size_t equals = text.find('=');
    plan.words.insert(plan.words.end(), {"--setenv", std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))});
  }
  plan.words.insert(plan.words.end(), isolation_->mounts.begin(), isolation_->mounts.end());
  std::vector<Descriptor> held;
  const auto give = [&](Descriptor fd, int number) {
    plan.descriptors.emplace_back(fd.get(), number);
    held.push_back(std::move(fd));
  };
  int next = kFirstFile;
  for (const auto& [path, content] : job.files) {
    plan.words.insert(plan.words.end(), {"--perms", "0444", "--file", std::to_string(next), path});
    give(memory_file(content), next++);
  }
  if (limits_.scratch_bytes > 0) plan.words.insert(plan.words.end(), {"--size", std::to_string(limits_.scratch_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"});
  else plan.words.insert(plan.words.end(), {"--dir", "/tmp", "--chdir", "/tmp"});
  plan.words.insert(plan.words.end(), {"--remount-ro", "/", "--json-status-fd", std::to_string(kStatus), "--seccomp", std::to_string(kFilter), isolation_->interpreter.path, "-s", "-B", "-X", "utf8"});
  plan.words.insert(plan.words.end(), job.arguments.begin(), job.arguments.end());
  static const std::string kFilters[] = {call_filter(false), call_filter(true)};
  give(memory_file(kFilters[limits_.may_fork]), kFilter);
  give(Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)), 0);
  if (!job.input.empty()) plan.descriptors.back().first = (held.back() = memory_file(job.input)).get();
  const auto listen = [&](int number, std::string* into, int64_t most) {
    Pipe pipe;
    give(std::move(pipe.write_end), number);
    set_nonblocking(pipe.read_end.get());
    streams_.push_back({std::move(pipe.read_end), into, most});
  };
  listen(1, &outcome_.out, limits_.stdout_bytes);
  listen(2, &outcome_.err, limits_.stderr_bytes);
  listen(kMessagesOut, &replies_, limits_.message_bytes + 4);
  listen(kStatus, &status_, 4096);
  Pipe requests;
  give(std::move(requests.read_end), kMessagesIn);
  set_nonblocking(requests.write_end.get());
  requests_ = std::move(requests.write_end);
  plan.limits = process_limits(limits_, job, group_->limits_memory());
  plan.join_files = group_->join_files();
  plan.user = isolation_->user;
  start_ = Clock::now();
  wall_deadline_ = start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits_.wall_seconds));
  become_subreaper();
  pid_ = launch(plan);
  process_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (process_.is_open()) return;
  // Without it the end of the program would never be seen. No destructor runs after this.
  const int problem = errno;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  throw std::runtime_error(std::string("a program in the sandbox cannot be watched (pidfd_open): ") + std::strerror(problem));
}

SandboxedProgram::~SandboxedProgram() {
  try {
    stop();
  } catch (...) {  // it is gone, and nobody asks any more how
  }
}

std::optional<std::string> SandboxedProgram::exchange(std::string_view message, double seconds) { return exchange_bytes(framed(message), seconds); }

std::optional<std::string> SandboxedProgram::exchange_bytes(std::string bytes, double seconds) {
  if (outcome_.end != SandboxEnd::kRunning) return std::nullopt;
  pending_ += bytes;
  const auto deadline = std::min(wall_deadline_, Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  while (true) {
    if (auto message = take_message()) return message;
    if (cause_ != SandboxEnd::kRunning) break;
    if (!turn(deadline)) return take_message();
    if (Clock::now() >= deadline) end(SandboxEnd::kWallLimit);
  }
  finish();
  return std::nullopt;
}

std::optional<std::string> SandboxedProgram::take_message() {
  if (replies_.size() < 4) return std::nullopt;
  uint32_t size = 0;
  for (int byte = 0; byte < 4; ++byte) size |= static_cast<uint32_t>(static_cast<unsigned char>(replies_[static_cast<size_t>(byte)])) << 8 * byte;
  if (size > limits_.message_bytes) end(SandboxEnd::kOutputLimit);
  if (replies_.size() - 4 < size) return std::nullopt;
  std::string out = replies_.substr(4, size);
  replies_.erase(0, size + size_t{4});
  return out;
}

void SandboxedProgram::allow(double seconds) { wall_deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)); }

const SandboxOutcome& SandboxedProgram::finish() {
  while (outcome_.end == SandboxEnd::kRunning && turn(wall_deadline_))
    if (cause_ == SandboxEnd::kRunning && Clock::now() >= wall_deadline_) end(SandboxEnd::kWallLimit);
  return outcome_;
}

const SandboxOutcome& SandboxedProgram::stop() {
  if (outcome_.end == SandboxEnd::kRunning) end(SandboxEnd::kStopped);
  return finish();
}

bool SandboxedProgram::turn(Clock::time_point deadline) {
  if (outcome_.end != SandboxEnd::kRunning) return false;
  // Once it has to end, its namespaces are being taken down: patience, then force on the outermost process.
  if (cause_ != SandboxEnd::kRunning) deadline = Clock::now() + std::chrono::seconds(2);
  std::vector<pollfd> waits = {{process_.get(), POLLIN, 0}, {pending_.empty() ? -1 : requests_.get(), POLLOUT, 0}};
  for (const auto& stream : streams_) waits.push_back({stream.fd.get(), POLLIN, 0});
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const int ready = ::poll(waits.data(), waits.size(), static_cast<int>(std::clamp<int64_t>(left + 1, 0, 3'600'000)));
  if (ready == 0 && cause_ != SandboxEnd::kRunning) ::kill(pid_, SIGKILL);
  if (waits[1].revents) write_requests();
  for (size_t s = 0; s < streams_.size(); ++s)
    if (waits[s + 2].revents) read_stream(streams_[s]);
  if (!waits[0].revents) return true;
  for (auto& stream : streams_) read_stream(stream);  // what was written before the end
  reap();
  return false;
}

void SandboxedProgram::write_requests() {
  const ssize_t count = write_quietly(requests_.get(), pending_);
  if (count > 0) pending_.erase(0, static_cast<size_t>(count));
  else if (count < 0 && errno != EAGAIN && errno != EINTR) pending_.clear(), requests_.close();  // nobody reads: its end will tell
}

void SandboxedProgram::read_stream(Stream& stream) {
  std::array<char, 65536> buffer;
  while (stream.fd.is_open()) {
    const ssize_t count = ::read(stream.fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return stream.fd.close();
    const int64_t room = stream.most - static_cast<int64_t>(stream.into->size());
    stream.into->append(buffer.data(), static_cast<size_t>(std::min<int64_t>(count, std::max<int64_t>(room, 0))));
    if (count > room) return end(SandboxEnd::kOutputLimit), stream.fd.close();
  }
}

pid_t SandboxedProgram::inner_pid() const { return reported(status_, "child-pid"); }

/// Ends the first process of the inner namespace, and with it all the others; then the outer one reports and goes.
void SandboxedProgram::end(SandboxEnd cause) {
  if (cause_ != SandboxEnd::kRunning || outcome_.end != SandboxEnd::kRunning) return;
  cause_ = cause;
  const pid_t inner = inner_pid();
  if (inner > 0) cpu_before_kill_ = cpu_of_tree(inner);
  ::kill(inner > 0 ? inner : pid_, SIGKILL);
}

/// Waits until the inner namespace is gone. Returns its computing time.
double SandboxedProgram::reap_inner() const {
  const pid_t inner = inner_pid();
  if (inner <= 0) return 0;
  struct rusage usage {};
  pid_t got = 0;
  while ((got = ::wait4(inner, nullptr, WNOHANG, &usage)) == 0) {
    ::kill(inner, SIGKILL);  // ours alone to wait for, so the number is still its own
    while ((got = ::wait4(inner, nullptr, 0, &usage)) < 0 && errno == EINTR) {
    }
    break;
  }
  return got == inner ? cpu_of(usage) : 0;  // else the outer process has waited for it and counted it
}

void SandboxedProgram::reap() {
  int status = 0;
  struct rusage usage {};
  while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  outcome_.wall_seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double outer = cpu_of(usage), inner = reap_inner();
  outcome_.cpu_seconds = std::max(outer + inner, cpu_before_kill_);
  const int code = reported(status_, "exit-code");
  outcome_.code = code > 128 ? code - 128 : std::max(code, 0);
  const bool out_of_time = outcome_.code == SIGXCPU || (outcome_.code == SIGKILL && outcome_.cpu_seconds >= std::ceil(limits_.cpu_seconds));
  if (cause_ != SandboxEnd::kRunning) outcome_.end = cause_;
  else if (group_->memory_kills() > memory_kills_before_) outcome_.end = SandboxEnd::kMemoryLimit;
  else if (code > 128) outcome_.end = out_of_time ? SandboxEnd::kCpuLimit : SandboxEnd::kSignalled;
  else outcome_.end = SandboxEnd::kExited;
  if (outcome_.end == SandboxEnd::kExited && code < 0)
    throw std::runtime_error(fmt::format("the sandbox could not be set up (bubblewrap: exit code {}): {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1, outcome_.err.substr(0, 500)));
}

SandboxOutcome run_in_sandbox(std::shared_ptr<const Isolation> isolation, const SandboxJob& job) {
  SandboxedProgram program(std::move(isolation), job);
  return program.finish();
}

}  // namespace canvaslab
