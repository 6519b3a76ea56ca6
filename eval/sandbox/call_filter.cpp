#include "eval/sandbox/call_filter.h"

#include "core/error.h"

#ifdef CANVASLAB_HAS_SECCOMP
#include <linux/prctl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#endif

namespace canvaslab {

#ifndef CANVASLAB_HAS_SECCOMP

bool has_call_filter() { return false; }
std::string call_filter(bool) { throw usage_error("built without libseccomp"); }

#else

namespace {

/// Harmless with any arguments: they reach nothing outside the sandbox.
constexpr std::array kAllowed = {
    // reading and writing
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek", "close", "close_range", "dup", "dup2", "dup3", "pipe", "pipe2", "fcntl", "poll", "ppoll", "select",
    "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "sendfile", "fadvise64",
    // files: what can be reached is what the mounts show
    "open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "chdir", "fchdir", "getdents64",
    "flock", "fsync", "fdatasync", "truncate", "ftruncate", "fallocate", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
    "chmod", "fchmod", "fchmodat", "utimensat", "umask",
    // memory
    "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "mincore", "msync", "membarrier",
    // signals, within the sandbox's own processes
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "kill", "tkill", "tgkill", "pause", "alarm", "setitimer", "getitimer",
    "timer_create", "timer_settime", "timer_gettime", "timer_delete", "restart_syscall",
    // time
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
    // threads and the process itself
    "futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "arch_prctl", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "getcpu", "getpid", "getppid",
    "gettid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getpriority", "uname", "sysinfo", "getrlimit", "setrlimit", "getrusage",
    "getrandom", "execve", "wait4", "waitid", "exit", "exit_group"};

/// Refused with EPERM, so that a program hears that it may not rather than that the machine cannot.
constexpr std::array kForbidden = {"socket", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
                                   "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_by_handle_at",
                                   "name_to_handle_at", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon", "swapoff", "reboot", "quotactl", "personality",
                                   "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex", "setuid", "setgid", "setresuid", "setresgid", "setgroups", "capset", "seccomp", "mknod",
                                   "mknodat", "fsopen", "fsmount", "move_mount", "open_tree", "memfd_create", "memfd_secret", "shmget", "shmat", "msgget", "semget", "syslog", "acct", "iopl", "ioperm",
                                   "modify_ldt", "fanotify_init", "inotify_init1", "mlock", "mlockall", "setpriority", "sched_setaffinity", "sched_setscheduler", "setsid", "setpgid"};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), seccomp_release) {
    if (!context_) throw std::runtime_error("libseccomp gives no filter");
    check(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "other architectures");
  }
  template <typename... Conditions>
  void allow(const char* name, Conditions... conditions) {
    add(SCMP_ACT_ALLOW, name, conditions...);
  }
  template <typename... Conditions>
  void forbid(const char* name, Conditions... conditions) {
    add(SCMP_ACT_ERRNO(EPERM), name, conditions...);
  }
  std::string bytes() const {
    const int fd = ::memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0) throw std::runtime_error(fmt::format("no memory file: {}", std::strerror(errno)));
    const int code = seccomp_export_bpf(context_.get(), fd);
    std::string out(static_cast<size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    const ssize_t got = ::pread(fd, out.data(), out.size(), 0);
    ::close(fd);
    check(code, "the export");
    if (got != static_cast<ssize_t>(out.size()) || out.empty()) throw std::runtime_error("the filter cannot be read back");
    return out;
  }

 private:
  template <typename... Conditions>
  void add(uint32_t action, const char* name, Conditions... conditions) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0) return;  // an architecture or a libseccomp without it: the default action covers it
    check(seccomp_rule_add(context_.get(), action, number, sizeof...(conditions), conditions...), name);
  }
  static void check(int code, const char* what) {
    if (code < 0) throw std::runtime_error(fmt::format("libseccomp refuses {}: {}", what, std::strerror(-code)));
  }
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
};

/// Threads of the calling process, and processes when that is allowed; never a namespace.
void add_clone(Filter& filter, bool may_fork) {
  constexpr uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  // The argument is 32 bits wide for this call, whatever stands above.
  if (may_fork) {
    filter.allow("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaces, 0));
    filter.allow("fork");
    filter.allow("vfork");
  } else {
    filter.allow("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNamespaces | CLONE_THREAD, CLONE_THREAD));
    filter.forbid("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    filter.forbid("fork");
    filter.forbid("vfork");
  }
  // clone3 hides its flags in memory and stays at ENOSYS: callers then fall back to clone.
}

}  // namespace

bool has_call_filter() { return true; }

std::string call_filter(bool may_fork) {
  Filter filter;
  for (const char* name : kAllowed) filter.allow(name);
  for (const char* name : kForbidden) filter.forbid(name);
  add_clone(filter, may_fork);
  for (const unsigned long request : {TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX, FIONCLEX, FIONBIO}) filter.allow("ioctl", SCMP_A1(SCMP_CMP_EQ, request));
  for (const uint64_t option : {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP}) filter.allow("prctl", SCMP_A0(SCMP_CMP_EQ, option));
  filter.allow("prlimit64", SCMP_A0(SCMP_CMP_EQ, 0));  // one's own limits alone
  filter.allow("socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
  return filter.bytes();
}

#endif

}  // namespace canvaslab
