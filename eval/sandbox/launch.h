#pragma once
// Starting a process with everything set that a sandbox needs before its first instruction.
#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace canvaslab {

/// A descriptor that is closed with the object.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) close(), fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

/// Both ends of a pipe, not inherited. Errors: std::runtime_error.
struct Pipe {
  Pipe();
  Descriptor read_end, write_end;
};

/// A file in memory with this content, read from its start. Errors: std::runtime_error.
Descriptor memory_file(std::string_view content);

/// What to start. Its environment is empty; descriptors not named here are closed in it.
struct Launch {
  std::vector<std::string> words;                        ///< program (a path) and arguments
  std::vector<std::pair<int, int>> descriptors;          ///< ours, and its number there
  std::vector<std::pair<int, rlim_t>> limits;            ///< RLIMIT_..., soft and hard; of RLIMIT_CPU the hard one is a second more
  std::vector<std::string> join_files;                   ///< control groups (ControlGroup::join_files)
  std::optional<uid_t> user;                             ///< becomes this user and group, all others dropped
};

/// Starts it in a session of its own. The parent's memory is not copied, however large it is.
/// Errors: std::runtime_error naming the step that failed.
pid_t launch(const Launch& what);

}  // namespace canvaslab
