#include "eval/sandbox/isolation.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/text/json_fields.h"
#include "eval/sandbox/call_filter.h"
#include "eval/sandbox/sandbox.h"

namespace canvaslab {
namespace {

/// A user that owns nothing on the machine.
constexpr uid_t kNobodyElse = 1'900'000'000;
constexpr const char* kInstall = "install bubblewrap (Debian: apt-get install bubblewrap; Fedora: dnf install bubblewrap)";

/// Tells about the interpreter that runs it. Modules that bring libraries are loaded, so that their folders are seen.
constexpr const char* kDescribe = R"(
import json, os, site, sys, sysconfig
for name in ('ctypes', 'decimal', 'zlib', 'hashlib'):
    try: __import__(name)
    except ImportError: pass
real = os.path.realpath
folders = [real(sysconfig.get_path(name)) for name in ('stdlib', 'platstdlib')]
if sys.base_prefix not in ('/', '/usr'): folders.append(real(os.path.join(sys.base_prefix, 'lib')))
folders += [real(path) for path in site.getsitepackages() if os.path.isdir(path)]
with open('/proc/self/maps') as maps:
    folders += [os.path.dirname(real(line.split(None, 5)[5].strip())) for line in maps if '.so' in line and '/' in line]
version = '.'.join(map(str, sys.version_info[:3]))
print(json.dumps({'path': real(getattr(sys, '_base_executable', None) or sys.executable), 'version': version, 'major': sys.version_info[0], 'minor': sys.version_info[1],
                  'folders': [path for path in dict.fromkeys(folders) if os.path.isdir(path) and path != '/']}))
)";

/// Tries from inside what has to fail, and says what worked all the same.
constexpr const char* kProbe = R"(
import os, socket
worked = []
def attempt(name, action):
    try: action()
    except (OSError, RuntimeError): return
    worked.append(name)
attempt('opening a socket', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt('writing a file', lambda: open('/probe', 'w'))
attempt('starting a process', os.fork)
for path in ('/proc/1', '/etc/passwd', '/home', '/root', '/sys'): attempt('seeing ' + path, lambda: os.stat(path))
if HARNESS > 2: attempt('signalling another process', lambda: os.kill(HARNESS, 0))  # 1 and 2 are its own in there
print('isolated' if not worked else 'not isolated: ' + ', '.join(worked))
)";

/// What a trusted command writes to standard output; nullopt when it fails.
std::optional<std::string> output_of(const std::vector<std::string>& words) {
  Pipe pipe;
  Launch plan{.words = words, .descriptors = {{pipe.write_end.get(), 1}}, .limits = {}, .join_files = {}, .user = std::nullopt};
  const pid_t pid = launch(plan);
  pipe.write_end.close();
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = ::read(pipe.read_end.get(), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return out;
}

std::string found_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  for (const char* folder : {"/usr/bin/", "/usr/local/bin/", "/bin/"})
    if (const std::string path = folder + name; ::access(path.c_str(), X_OK) == 0) return path;
  return "";
}

Interpreter described(const std::string& python) {
  const std::string path = found_program(python);
  if (path.empty()) throw usage_error("programs are judged by running them, and there is no Python at '{}'\ninstall python3, or name one with python=PATH", python);
  const auto text = output_of({path, "-I", "-B", "-c", kDescribe});
  const Json json = text ? parse_json(*text) : Json();
  if (!json.is_object()) throw usage_error("'{}' does not answer as a Python 3 would\nname another with python=PATH", path);
  Interpreter out{.path = json["path"], .version = json["version"], .folders = json["folders"]};
  if (json["major"] != 3 || json["minor"] < 8) throw usage_error("'{}' is Python {}; programs are run with 3.8 or later (published results used 3.11)", path, out.version);
  return out;
}

/// The interpreter, its folders, and where the loader looks; links as they are on this machine.
std::vector<std::string> mounts_for(const Interpreter& interpreter) {
  std::vector<std::string> out;
  std::set<std::string> folders(interpreter.folders.begin(), interpreter.folders.end());
  for (const char* place : {"/lib", "/lib64", "/usr/lib64"}) {
    std::error_code problem;
    const std::filesystem::path path(place);
    if (std::filesystem::is_symlink(path, problem)) out.insert(out.end(), {"--symlink", std::filesystem::read_symlink(path).string(), place});
    else if (std::filesystem::is_directory(path, problem)) folders.insert(place);
  }
  std::string last;  // sorted: a folder comes before what lies in it
  for (const auto& folder : folders) {
    if (!last.empty() && folder.starts_with(last + "/")) continue;
    out.insert(out.end(), {"--ro-bind", folder, folder});
    last = folder;
  }
  out.insert(out.end(), {"--ro-bind", interpreter.path, interpreter.path, "--dir", "/dev"});
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/urandom"}) out.insert(out.end(), {"--dev-bind", device, device});
  return out;
}

std::string reason_hint(const std::string& problem) {
  if (problem.find("No permissions to create new namespace") != std::string::npos || problem.find("Operation not permitted") != std::string::npos)
    return "user namespaces are closed here: in a container allow them (docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined), on Ubuntu allow bwrap in AppArmor "
           "(sysctl kernel.apparmor_restrict_unprivileged_userns=0), on older Debian set sysctl kernel.unprivileged_userns_clone=1";
  if (problem.find("Permission denied") != std::string::npos || problem.find("Can't find source path") != std::string::npos)
    return "programs run as another user than root here, who has to be able to read the interpreter: name one outside private folders with python=PATH";
  return kInstall;
}

/// Proves it, or throws.
void prove(const std::shared_ptr<Isolation>& isolation) {
  SandboxJob job{.arguments = {"-c", fmt::format("HARNESS = {}{}", ::getpid(), kProbe)}, .limits = {.cpu_seconds = 10, .wall_seconds = 60, .memory_bytes = int64_t{1} << 30}};
  std::string problem;
  try {
    const SandboxOutcome outcome = run_in_sandbox(isolation, job);
    if (outcome.out == "isolated\n") return;
    problem = outcome.out.empty() ? fmt::format("{} {}", sandbox_end_name(outcome.end), outcome.err.substr(0, 500)) : outcome.out;
  } catch (const std::runtime_error& error) {
    problem = error.what();
  }
  throw usage_error("programs are judged by running them, and they cannot be isolated on this machine, so none is run: {}\n{}", problem, reason_hint(problem));
}

std::shared_ptr<const Isolation> found_isolation(const IsolationTools& tools) {
  if (!has_call_filter())
    throw usage_error("programs are judged by running them, and this build has no system-call filter, so none is run\ninstall libseccomp-dev (Fedora: libseccomp-devel) and build again");
  auto out = std::make_shared<Isolation>();
  out->bubblewrap = found_program(tools.bubblewrap);
  if (out->bubblewrap.empty()) throw usage_error("programs are judged by running them, and there is no '{}' to isolate them, so none is run\n{}", tools.bubblewrap, kInstall);
  out->interpreter = described(tools.python);
  if (::geteuid() == 0) out->user = kNobodyElse;
  out->mounts = mounts_for(out->interpreter);
  {
    const ControlGroup group(int64_t{1} << 30, 64);
    out->limits_memory_of_all = group.limits_memory(), out->limits_tasks_of_all = group.limits_tasks();
  }
  prove(out);
  out->description = fmt::format("Python {} in namespaces of its own (bubblewrap), a system-call filter, limits per process{}{}", out->interpreter.version,
                                 out->limits_memory_of_all ? ", memory of all processes" : "", out->limits_tasks_of_all ? ", number of tasks" : "");
  return out;
}

}  // namespace

std::shared_ptr<const Isolation> find_isolation(const IsolationTools& tools) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::string>, std::shared_ptr<const Isolation>> found;
  const std::lock_guard lock(mutex);
  auto& known = found[{tools.python, tools.bubblewrap}];
  if (!known) known = found_isolation(tools);
  return known;
}

}  // namespace canvaslab
