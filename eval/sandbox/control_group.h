#pragma once
// Memory and process limits for a whole process tree, where the machine lets us set them.
#include <string>
#include <vector>

namespace canvaslab {

/// A control group of our own below the one we run in: version 2, or version 1's memory and pids. It is an addition to
/// limits per process, never a condition: on many machines ordinary users get none.
class ControlGroup {
 public:
  /// `memory_bytes` and `max_tasks` hold for all its processes together. Not usable where the machine gives none.
  ControlGroup(int64_t memory_bytes, int max_tasks);
  ~ControlGroup();
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  bool limits_memory() const { return !memory_.empty(); }
  bool limits_tasks() const { return !tasks_.empty(); }
  /// Files that a process writes "0" to in order to join.
  std::vector<std::string> join_files() const;
  /// Times that the kernel ended a process of the group for its memory.
  int64_t memory_kills() const;
  /// Ends every process in it and waits until none is left. False: some were left after `seconds`.
  bool clear(double seconds) const;

 private:
  std::string memory_, tasks_;  ///< folders; the same one with version 2; empty: none
  bool unified_ = false;
};

}  // namespace canvaslab
