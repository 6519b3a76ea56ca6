#include "eval/sandbox/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace canvaslab {
namespace {

/// Above every number that a launched process is given.
constexpr int kAbove = 100;

std::runtime_error failure(const char* what, int code) { return std::runtime_error(fmt::format("{}: {}", what, std::strerror(code))); }

/// Everything the child touches, made before it exists: it shares our memory until it becomes the program, so it may
/// neither allocate nor call what keeps state for all threads.
struct Prepared {
  std::vector<char*> words;
  std::array<char*, 1> environment{nullptr};
  std::vector<std::pair<int, int>> descriptors;
  std::vector<std::pair<int, struct rlimit>> limits;
  std::vector<const char*> join_files;
  long user = -1;
  const char* failed_step = nullptr;
  int failed_code = 0;
};

[[noreturn]] void give_up(Prepared& plan, const char* step) {
  plan.failed_code = errno;
  plan.failed_step = step;
  ::_exit(126);
}

void join_groups(Prepared& plan) {
  for (const char* file : plan.join_files) {
    const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) != 1) give_up(plan, "joining a control group");
    ::close(fd);
  }
}

void place_descriptors(Prepared& plan) {
  for (auto& [ours, number] : plan.descriptors)
    if ((ours = ::fcntl(ours, F_DUPFD, kAbove)) < 0) give_up(plan, "moving a descriptor");
  for (const auto& [ours, number] : plan.descriptors)
    if (::dup2(ours, number) < 0) give_up(plan, "placing a descriptor");
  int next = 0;  // gaps between the numbers are closed as well
  for (int at = 0; at < kAbove; ++at) {
    bool wanted = false;
    for (const auto& [ours, number] : plan.descriptors) wanted = wanted || number == at;
    if (wanted) next = at + 1;
    else ::close(at);
  }
  if (::syscall(SYS_close_range, static_cast<unsigned>(next), ~0u, 0u) != 0) give_up(plan, "closing descriptors");
}

/// System calls themselves: the library's setuid would change every thread of the program.
void change_user(Prepared& plan) {
  if (plan.user < 0) return;
  if (::syscall(SYS_setgroups, 0, nullptr) != 0) give_up(plan, "dropping groups");
  if (::syscall(SYS_setresgid, plan.user, plan.user, plan.user) != 0) give_up(plan, "changing the group");
  if (::syscall(SYS_setresuid, plan.user, plan.user, plan.user) != 0) give_up(plan, "changing the user");
}

[[noreturn]] void become(Prepared& plan) {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(signal, &plain, nullptr);
  }
  join_groups(plan);
  place_descriptors(plan);
  for (const auto& [resource, limit] : plan.limits)
    if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) give_up(plan, "setting a limit");
  ::setsid();
  change_user(plan);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.words[0], plan.words.data(), plan.environment.data());
  give_up(plan, plan.words[0]);
}

}  // namespace

void Descriptor::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Pipe::Pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw failure("no pipe", errno);
  read_end = Descriptor(ends[0]);
  write_end = Descriptor(ends[1]);
}

Descriptor memory_file(std::string_view content) {
  Descriptor out(::memfd_create("sandbox", MFD_CLOEXEC));
  if (!out.is_open()) throw failure("no memory file", errno);
  while (!content.empty()) {
    const ssize_t count = ::write(out.get(), content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw failure("a memory file cannot be written", errno);
    content.remove_prefix(static_cast<size_t>(count));
  }
  ::lseek(out.get(), 0, SEEK_SET);
  return out;
}

pid_t launch(const Launch& what) {
  Prepared plan;
  for (const auto& word : what.words) plan.words.push_back(const_cast<char*>(word.c_str()));
  plan.words.push_back(nullptr);
  plan.descriptors = what.descriptors;
  for (const auto& [resource, most] : what.limits) {
    struct rlimit now {};
    ::getrlimit(static_cast<__rlimit_resource_t>(resource), &now);
    // A stricter limit of the user's stays. The first CPU limit ends a program with a signal of its own, the second always.
    plan.limits.push_back({resource, {std::min(most, now.rlim_max), std::min(most + (resource == RLIMIT_CPU), now.rlim_max)}});
  }
  for (const auto& file : what.join_files) plan.join_files.push_back(file.c_str());
  if (what.user) plan.user = static_cast<long>(*what.user);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t child = ::vfork();
  if (child == 0) become(plan);
  const int code = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) throw failure("no new process", code);
  if (plan.failed_step) {
    ::waitpid(child, nullptr, 0);
    throw failure(plan.failed_step, plan.failed_code);
  }
  return child;
}

}  // namespace canvaslab
