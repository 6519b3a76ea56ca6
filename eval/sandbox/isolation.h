#pragma once
// Whether this machine can run untrusted programs safely, and how.
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace canvaslab {

/// The interpreter that programs run in.
struct Interpreter {
  std::string path;                  ///< the real file
  std::string version;               ///< "3.11.2"
  std::vector<std::string> folders;  ///< its modules and the libraries that it loads: all that a sandbox shows, read-only
};

/// What was found and tried on this machine.
struct Isolation {
  std::string bubblewrap;            ///< path
  Interpreter interpreter;
  std::optional<uid_t> user;         ///< that programs run as when we are root; else they run as we do, in namespaces of their own
  std::vector<std::string> mounts;   ///< arguments of bubblewrap
  bool limits_memory_of_all = false, limits_tasks_of_all = false;  ///< control groups
  std::string description;           ///< one line: what holds programs in
};

/// Where to look.
struct IsolationTools {
  std::string python = "/usr/bin/python3";
  std::string bubblewrap = "bwrap";  ///< a path, or a name to be found in the usual folders
};

/// Finds the tools and proves isolation by a run inside: nothing is taken on trust, and nothing runs without it. Each
/// combination is tried once per process.
/// Errors: usage, saying what is missing or refused here and what to install or allow.
std::shared_ptr<const Isolation> find_isolation(const IsolationTools& tools = {});

}  // namespace canvaslab
