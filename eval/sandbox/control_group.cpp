#include "eval/sandbox/control_group.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace canvaslab {
namespace {

constexpr const char* kPrefix = "canvaslab-sandbox-";

bool write_value(const std::string& file, const std::string& value) {
  std::ofstream out(file);
  out << value << std::flush;
  return out.good();
}

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Our own place in each hierarchy: "memory" -> "/user.slice"; "" is version 2.
std::map<std::string, std::string> own_groups() {
  std::map<std::string, std::string> out;
  std::istringstream lines(text_of("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    const std::string path = line.substr(second + 1);
    if (second == first + 1) out[""] = path;
    for (std::string name; std::getline(names, name, ',');) out[name] = path;
  }
  return out;
}

/// Mount points of version 1 controllers by name, and of version 2 under "".
std::map<std::string, std::string> hierarchies() {
  std::map<std::string, std::string> out;
  std::istringstream lines(text_of("/proc/self/mounts"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, place, type, options;
    words >> device >> place >> type >> options;
    if (type == "cgroup2") out[""] = place;
    if (type != "cgroup") continue;
    std::istringstream list(options);
    for (std::string option; std::getline(list, option, ',');)
      if (option == "memory" || option == "pids") out[option] = place;
  }
  return out;
}

/// Groups that killed runs left behind: named for a process that is no more.
void remove_leftovers(const std::string& parent) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    pid_t owner = 0;
    const std::string digits = name.substr(std::string(kPrefix).size());
    std::from_chars(digits.data(), digits.data() + digits.size(), owner);
    if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) ::rmdir(entry.path().c_str());
  }
}

/// A new folder below our own group, or "" when it cannot be made.
std::string make_group(const std::string& mount, const std::string& own) {
  static std::atomic<int> counter{0};
  const std::string parent = mount + (own == "/" ? "" : own);
  remove_leftovers(parent);
  const std::string path = fmt::format("{}/{}{}-{}", parent, kPrefix, ::getpid(), counter++);
  return ::mkdir(path.c_str(), 0755) == 0 ? path : "";
}

}  // namespace

ControlGroup::ControlGroup(int64_t memory_bytes, int max_tasks) {
  const auto own = own_groups();
  const auto mounts = hierarchies();
  const auto made = [&](const std::string& name) {
    const auto mount = mounts.find(name), place = own.find(name);
    return mount == mounts.end() || place == own.end() ? std::string() : make_group(mount->second, place->second);
  };
  const std::string bytes = std::to_string(memory_bytes), tasks = std::to_string(max_tasks);
  if (mounts.contains("memory")) {
    memory_ = made("memory");
    if (!memory_.empty() && !write_value(memory_ + "/memory.limit_in_bytes", bytes)) ::rmdir(memory_.c_str()), memory_.clear();
    if (!memory_.empty()) write_value(memory_ + "/memory.memsw.limit_in_bytes", bytes);  // only where swap is accounted
  }
  if (mounts.contains("pids")) {
    tasks_ = made("pids");
    if (!tasks_.empty() && !write_value(tasks_ + "/pids.max", tasks)) ::rmdir(tasks_.c_str()), tasks_.clear();
  }
  if (!memory_.empty() || !tasks_.empty()) return;
  const std::string group = made("");
  if (group.empty()) return;
  unified_ = true;
  if (write_value(group + "/memory.max", bytes)) memory_ = group, write_value(group + "/memory.swap.max", "0"), write_value(group + "/memory.oom.group", "1");
  if (write_value(group + "/pids.max", tasks)) tasks_ = group;
  if (memory_.empty() && tasks_.empty()) ::rmdir(group.c_str());
}

ControlGroup::~ControlGroup() {
  clear(2);
  if (!memory_.empty()) ::rmdir(memory_.c_str());
  if (!tasks_.empty() && tasks_ != memory_) ::rmdir(tasks_.c_str());
}

std::vector<std::string> ControlGroup::join_files() const {
  std::vector<std::string> out;
  if (!memory_.empty()) out.push_back(memory_ + "/cgroup.procs");
  if (!tasks_.empty() && tasks_ != memory_) out.push_back(tasks_ + "/cgroup.procs");
  return out;
}

int64_t ControlGroup::memory_kills() const {
  if (memory_.empty()) return 0;
  std::istringstream lines(text_of(memory_ + (unified_ ? "/memory.events" : "/memory.oom_control")));
  for (std::string name, value; lines >> name >> value;)
    if (name == "oom_kill") return std::stoll(value);
  return 0;
}

bool ControlGroup::clear(double seconds) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    bool empty = true;
    for (const auto& file : join_files()) {
      std::istringstream list(text_of(file));
      for (pid_t pid; list >> pid;) {
        empty = false;
        ::kill(pid, SIGKILL);
      }
    }
    if (empty) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace canvaslab
