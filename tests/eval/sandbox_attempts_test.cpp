// Attempts to escape from the sandbox or to abuse it (tests/fixtures/sandbox/attempts.txt), each tried for real; what is
// harmless is also done outside, where it must work. CANVASLAB_SANDBOX_TABLE=FILE writes them as a table.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include <map>
#include <regex>

#include "eval/sandbox/sandbox.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

struct Attempt {
  std::string area, name, pattern, words, body;
  bool has(std::string_view word) const { return (" " + words + " ").find(" " + std::string(word) + " ") != std::string::npos; }
};

std::string trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(' '));
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::vector<Attempt> attempts() {
  std::vector<Attempt> out;
  std::istringstream lines(read_file(CANVASLAB_SOURCE_DIR "/tests/fixtures/sandbox/attempts.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("### ")) {
      // A pattern may hold bars: it stands between the second " | " and the last.
      const size_t first = line.find(" | "), second = line.find(" | ", first + 3), last = line.rfind(" | ");
      out.push_back({line.substr(4, first - 4), line.substr(first + 3, second - first - 3), trimmed(line.substr(second + 3, last - second - 3)), trimmed(line.substr(last + 3)), ""});
    } else if (!out.empty()) {
      out.back().body += line + "\n";
    }
  }
  return out;
}

constexpr const char* kFrame = R"(import ctypes, errno, os, signal, sys, time
library = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    out = library.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if out < 0: raise OSError(ctypes.get_errno(), "system call")
    return out
)";

/// A program that makes the attempt and says on one line what came of it.
std::string program_of(const Attempt& attempt, const std::string& constants) {
  std::string body;
  std::istringstream lines(attempt.body);
  for (std::string line; std::getline(lines, line);) body += "    " + line + "\n";
  return constants + kFrame + "def attempt():\n" + body + "    pass\n" + R"(
try:
    print("worked", attempt() or "", flush=True)
except OSError as error:
    print("refused", errno.errorcode.get(error.errno, type(error).__name__), flush=True)
except BaseException as error:
    print("refused", type(error).__name__, flush=True)
)";
}

/// Something of ours that attempts aim at.
class Target {
 public:
  Target() {
    write_file(secret_path(), "the secret\n");
    tcp_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in place{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof place;
    if (::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&place), size) != 0 || ::listen(tcp_.get(), 8) != 0) throw std::runtime_error("no listener");
    ::getsockname(tcp_.get(), reinterpret_cast<sockaddr*>(&place), &size);
    port_ = ntohs(place.sin_port);
    local_ = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string text = socket_name();
    std::copy(text.begin(), text.end(), name.sun_path + 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    if (::bind(local_.get(), reinterpret_cast<sockaddr*>(&name), length) != 0 || ::listen(local_.get(), 8) != 0) throw std::runtime_error("no local listener");
  }
  std::string constants(bool inside) const {
    return fmt::format("INSIDE = {}\nHARNESS_PID = {}\nPORT = {}\nSOCKET_NAME = '{}'\nSECRET_FILE = '{}'\n", inside ? "True" : "False", ::getpid(), port_, socket_name(), secret_path());
  }
  bool unharmed() const { return read_file(secret_path()) == "the secret\n"; }

 private:
  std::string secret_path() const { return folder_ / "secret.txt"; }
  static std::string socket_name() { return fmt::format("canvaslab-attempts-{}", ::getpid()); }
  TemporaryFolder folder_;
  Descriptor tcp_, local_;
  int port_ = 0;
};

/// Processes whose command line holds a word.
size_t processes_with(const std::string& word) {
  size_t count = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored))
    if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0]))) count += read_file(entry.path() / "cmdline").find(word) != std::string::npos;
  return count;
}

class SandboxAttempts : public testing::WithSandbox {
 protected:
  struct Result {
    SandboxOutcome outcome;
    std::string said;  ///< how it ended, and its first line
  };
  Result inside(const Attempt& attempt, const std::string& token) const {
    SandboxJob job{.arguments = {"/box/main.py", token}, .files = {{"/box/main.py", program_of(attempt, target_.constants(true))}}};
    job.limits = {.cpu_seconds = 1, .wall_seconds = 4, .memory_bytes = int64_t{256} << 20, .stdout_bytes = 1 << 20, .stderr_bytes = 1 << 20, .message_bytes = 1 << 20,
                  .scratch_bytes = attempt.has("scratch") ? 4 << 20 : 0, .max_tasks = 32, .may_fork = attempt.has("fork")};
    // What only the clock can end is given less of it, what is ended by computing time has all that a busy machine may take.
    if (attempt.pattern.starts_with("wall_limit")) job.limits.wall_seconds = 1.5;
    if (attempt.pattern.starts_with("cpu_limit") || attempt.has("quick")) job.limits.wall_seconds = 60;
    Result out;
    SandboxedProgram program(isolation_, job);
    while (program.receive(job.limits.wall_seconds)) {}
    out.outcome = program.finish();
    out.said = trimmed(fmt::format("{} {}", sandbox_end_name(out.outcome.end), out.outcome.out.substr(0, std::min(out.outcome.out.find('\n'), size_t{200}))));
    return out;
  }
  /// The first line that the attempt prints outside the sandbox, at a harmless size.
  std::string outside(const Attempt& attempt) const {
    const TemporaryFolder folder;
    write_file(folder / "main.py", program_of(attempt, target_.constants(false)));
    return shell(fmt::format("cd '{}' && SECRET_OF_HARNESS=1 timeout 20 '{}' main.py", folder.path(), isolation_->interpreter.path)).output;
  }
  Target target_;
};

TEST_F(SandboxAttempts, AreContainedAndWorkOutside) {
  const bool root = ::geteuid() == 0;
  const auto all = attempts();
  ASSERT_GE(all.size(), 60u);
  const char* only = std::getenv("CANVASLAB_ATTEMPT");
  std::string table, left_out;
  std::map<std::string, size_t> counts;
  for (size_t i = 0; i < all.size(); ++i) {
    const Attempt& attempt = all[i];
    if (only && attempt.name.find(only) == std::string::npos) continue;
    SCOPED_TRACE(attempt.area + ": " + attempt.name);
    // Without control groups there is nothing to bound them by: no scratch folder, and may_fork is refused.
    if (((attempt.has("memory") || attempt.has("scratch")) && !isolation_->limits_memory_of_all) || (attempt.has("fork") && !isolation_->limits_tasks_of_all)) {
      left_out += "\n  " + attempt.area + ": " + attempt.name;
      continue;
    }
    std::string free = "not tried";
    if (attempt.has("control=works") || (attempt.has("control=root") && root)) {
      free = outside(attempt);
      EXPECT_TRUE(free.starts_with("worked")) << "outside it says: " << free;
      free = "works";
    }
    const std::string token = fmt::format("attempt-{}-{}", ::getpid(), i);
    const Result result = inside(attempt, token);
    EXPECT_TRUE(std::regex_match(result.said, std::regex(attempt.pattern))) << "it says: " << result.said << "\n" << result.outcome.err.substr(0, 1000);
    EXPECT_EQ(processes_with(token), 0u) << "something is left behind";
    EXPECT_TRUE(target_.unharmed());
    ++counts[attempt.area];
    table += fmt::format("| {} | {} | {} | {} |\n", attempt.area, attempt.name, free, result.said.substr(0, 90));
  }
  if (!left_out.empty()) std::printf("left out, for want of control groups:%s\n", left_out.c_str());
  EXPECT_TRUE(only || left_out.empty() == (isolation_->limits_memory_of_all && isolation_->limits_tasks_of_all));
  // And an honest program still runs.
  EXPECT_EQ(run_in_sandbox(isolation_, {.arguments = {"-c", "print(6 * 7)"}}).out, "42\n");
  if (const char* path = std::getenv("CANVASLAB_SANDBOX_TABLE")) {
    std::string sums;
    for (const auto& [area, count] : counts) sums += fmt::format("{}{} {}", sums.empty() ? "" : ", ", count, area);
    write_file(path, fmt::format("# Attempts to escape from the sandbox or to abuse it\n\nEach is tried for real in the sandbox, and outside it where that is harmless (many at a smaller size). All are contained: {}.\n"
                                 "Sandbox: {}.\nMade by `CANVASLAB_SANDBOX_TABLE=results/tables/sandbox.md build/eval_tests --gtest_filter='SandboxAttempts.*'`; the programs: "
                                 "[attempts.txt](../../tests/fixtures/sandbox/attempts.txt).\nForged verdicts and answers read or guessed: [sandbox_forgery_test.cpp](../../tests/eval/sandbox_forgery_test.cpp), of which none passes.\n\n| area | what is tried | outside | inside: how it ended, what it said |\n|---|---|---|---|\n{}",
                                 sums, isolation_->description, table));
  }
}

}  // namespace
}  // namespace canvaslab
