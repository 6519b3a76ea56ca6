// The sandbox itself: what it runs, what it says of ends and limits, that it fails closed, and that nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "core/json.h"
#include "eval/sandbox/message.h"
#include "eval/sandbox/sandbox.h"
#include "eval/sandbox/verdict_cache.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Sandbox : public testing::WithSandbox {
 protected:
  SandboxOutcome run(const std::string& code, SandboxLimits limits = {}, const std::string& input = "") const {
    return run_in_sandbox(isolation_, {.arguments = {"-c", code}, .input = input, .limits = limits});
  }
};

TEST_F(Sandbox, GivesInputAndReturnsOutputErrorsAndExitCode) {
  const SandboxOutcome out = run("import sys\nprint(sys.stdin.read().upper(), end='')\nprint('e', file=sys.stderr)\nsys.exit(3)", {}, "text \xC3\xA9\n");
  EXPECT_EQ(out.end, SandboxEnd::kExited);
  EXPECT_EQ(out.code, 3);
  EXPECT_EQ(out.out, "TEXT \xC3\x89\n");
  EXPECT_EQ(out.err, "e\n");
  EXPECT_GT(out.cpu_seconds, 0);
  EXPECT_GE(out.wall_seconds, 0);
}

TEST_F(Sandbox, ShowsFilesAndNothingOfTheEnvironment) {
  const SandboxOutcome out = run_in_sandbox(isolation_, {.arguments = {"-c", "import os\nprint(open('/box/a').read(), sorted(os.environ))"}, .files = {{"/box/a", "content"}}});
  EXPECT_EQ(out.out, "content ['HOME', 'LC_ALL', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PWD', 'PYTHONHASHSEED']\n");
}

TEST_F(Sandbox, SaysWhichLimitFired) {
  EXPECT_EQ(run("while True: pass", {.cpu_seconds = 1, .wall_seconds = 60}).end, SandboxEnd::kCpuLimit);
  EXPECT_EQ(run("import time; time.sleep(1000)", {.wall_seconds = 0.3}).end, SandboxEnd::kWallLimit);
  EXPECT_EQ(run("print('x' * 100000)", {.stdout_bytes = 1000}).end, SandboxEnd::kOutputLimit);
  EXPECT_EQ(run("print('x' * 100000)", {.stdout_bytes = 1000}).out.size(), 1000u);
  EXPECT_EQ(run("import os; os.abort()").end, SandboxEnd::kSignalled);
  EXPECT_EQ(run("import os; os.abort()").code, SIGABRT);
  EXPECT_EQ(run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").end, SandboxEnd::kSignalled);
}

TEST_F(Sandbox, AClosedMailboxIsNoSignalToUs) {
  // Whoever uses the library may not ignore SIGPIPE: it would end this process.
  struct sigaction plain {}, before {};
  plain.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &plain, &before);
  const std::string deaf = "import os\nos.close(3)\nos.write(4, (2).to_bytes(4, 'little') + b'ok')\nos.read(0, 1)\n";
  SandboxedProgram program(isolation_, {.arguments = {"-c", deaf}});
  ASSERT_EQ(program.receive(30).value_or(""), "ok");
  EXPECT_EQ(program.exchange(std::string(1 << 20, 'x'), 30), std::nullopt);
  EXPECT_EQ(program.finish().end, SandboxEnd::kExited);
  sigset_t pending;
  ::sigpending(&pending);
  EXPECT_FALSE(::sigismember(&pending, SIGPIPE));
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_F(Sandbox, ComputingTimeIsTheProgramsOwn) {
  const double busy = run("import time\nwhile time.process_time() < 0.5: pass").cpu_seconds, idle = run("pass").cpu_seconds;
  EXPECT_GE(busy, 0.5);
  EXPECT_LT(idle, busy);
}

TEST_F(Sandbox, MessagesGoBothWaysAndABrokenOneEndsNothing) {
  SandboxedProgram program(isolation_, {.arguments = {"-c", "import os\nwhile True:\n    n = int.from_bytes(os.read(3, 4), 'little')\n    if not n: break\n    m = os.read(3, n)[::-1]\n"
                                                            "    os.write(4, len(m).to_bytes(4, 'little') + m)\n"}});
  EXPECT_EQ(program.exchange("abc", 20), "cba");
  EXPECT_EQ(program.exchange("xy", 20), "yx");
  EXPECT_EQ(program.exchange("", 20), std::nullopt);
  EXPECT_EQ(program.finish().end, SandboxEnd::kExited);
}

TEST_F(Sandbox, EndsWithTheHarnessHoweverThatEnds) {
  const std::string token = fmt::format("orphan-{}", ::getpid());
  const auto running = [&] {
    size_t count = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) count += read_file(entry.path() / "cmdline").find(token) != std::string::npos;
    return count;
  };
  Pipe started;
  const pid_t harness = ::fork();
  if (harness == 0) {
    SandboxedProgram program(isolation_, {.arguments = {"-c", "import os, time\nos.write(4, bytes(4))\ntime.sleep(600)", token}, .limits = {.wall_seconds = 600}});
    const bool ready = program.receive(60).has_value();
    if (::write(started.write_end.get(), ready ? "y" : "n", 1) != 1) ::_exit(1);
    program.finish();
    ::_exit(0);
  }
  char ready = 'n';
  ASSERT_EQ(::read(started.read_end.get(), &ready, 1), 1);
  ASSERT_EQ(ready, 'y');
  ASSERT_GT(running(), 0u);
  ::kill(harness, SIGKILL);
  ::waitpid(harness, nullptr, 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (running() > 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(running(), 0u);
}

// --- failing closed

std::string refusal(const IsolationTools& tools) {
  try {
    find_isolation(tools);
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

/// A folder that the sandbox's user can reach, and a script in it.
class FakeTool {
 public:
  explicit FakeTool(const std::string& text) {
    ::chmod(folder_.path().c_str(), 0755);
    write_file(path(), "#!/bin/bash\n" + text);
    ::chmod(path().c_str(), 0755);
  }
  std::string path() const { return folder_ / "tool"; }

 private:
  TemporaryFolder folder_;
};

TEST_F(Sandbox, RunsNothingWithoutIsolationAndSaysWhatToInstall) {
  EXPECT_THAT(refusal({.bubblewrap = "no-such-bubblewrap"}), AllOf(HasSubstr("no 'no-such-bubblewrap'"), HasSubstr("none is run"), HasSubstr("install bubblewrap")));
  EXPECT_THAT(refusal({.python = "/nowhere/python3"}), AllOf(HasSubstr("no Python at '/nowhere/python3'"), HasSubstr("python=PATH")));
  const FakeTool silent("exit 0\n");
  EXPECT_THAT(refusal({.python = silent.path()}), HasSubstr("does not answer as a Python 3 would"));
}

TEST_F(Sandbox, DoesNotTrustAToolThatIsolatesNothing) {
  const FakeTool open("while [ \"$1\" != -s ]; do last=\"$1\"; shift; done\n\"$last\" \"$@\"\necho '{ \"exit-code\": 0 }' >&5\n");
  EXPECT_THAT(refusal({.bubblewrap = open.path()}), AllOf(HasSubstr("not isolated: opening a socket"), HasSubstr("starting a process"), HasSubstr("none is run")));
}

TEST_F(Sandbox, SaysWhatToDoWhereNamespacesAreClosed) {
  const FakeTool closed("echo 'bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.' >&2\nexit 1\n");
  EXPECT_THAT(refusal({.bubblewrap = closed.path()}), AllOf(HasSubstr("No permissions"), HasSubstr("seccomp=unconfined"), HasSubstr("kernel.unprivileged_userns_clone")));
}

// --- messages

TEST(SandboxMessage, TextsAndTruthValuesAtTheTopAreReadAndAllElseIsPassedOver) {
  const Message message(R"({"a": "x", "b": true, "c": {"a": "deep", "b": false}, "d": [{"e": "y"}], "f": 3})");
  EXPECT_EQ(message.text("a"), "x");
  EXPECT_TRUE(message.is_true("b"));
  EXPECT_TRUE(message.has("c"));
  EXPECT_EQ(message.text("c"), "");
  EXPECT_FALSE(message.has("e"));
  EXPECT_FALSE(message.is_true("f"));
  for (const char* none : {"", "[1]", "\"a\"", "{\"a\": \"x\"", "{\"a\": \"x\"} 1"}) EXPECT_FALSE(Message(none).has("a")) << none;
  const std::string deep = "{\"a\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_TRUE(Message(deep).has("a"));
}

TEST(SandboxMessage, DamagedMessagesReadAsAGeneralParserReadsThem) {
  const std::string whole = R"({"value": [1, {"a": "b"}], "error": "text \\u00e9 \\ud83d\\ude00", "timeout": true, "output": "1\n2", "passed": false, "x": {"passed": true}, "output": "last"})";
  const uint32_t seed = 11;
  std::mt19937 engine(seed);
  size_t read = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = whole;
    for (size_t n = engine() % 3; n > 0; --n) {
      const size_t at = engine() % text.size();
      if (engine() % 2) text.erase(at, 1 + engine() % 4);
      else text.insert(at, 1, "{}[]\",:\\0tn \xFF"[engine() % 14]);
    }
    const Json reference = parse_json(text);
    const Message message(text);
    for (const char* key : {"value", "error", "timeout", "output", "passed", "x"}) {
      const bool has = reference.is_object() && reference.contains(key);
      ASSERT_EQ(message.has(key), has) << "seed " << seed << " round " << round << " " << text;
      if (!has) continue;
      ++read;
      ASSERT_EQ(message.is_true(key), reference[key] == true) << text;
      ASSERT_EQ(message.text(key), reference[key].is_string() ? reference[key].get<std::string>() : "") << text;
    }
  }
  EXPECT_GT(read, 10000u);
}

// --- known verdicts

TEST(VerdictCache, KeepsVerdictsOnDiskButNotThoseByALimit) {
  const TemporaryFolder folder;
  const ProgramVerdict wrong{.end = ProgramEnd::kWrongAnswer, .num_passed = 3, .detail = "x", .cpu_seconds = 0.5, .wall_seconds = 1, .limit = ""};
  const ProgramVerdict late{.end = ProgramEnd::kTimeLimit, .num_passed = 1, .detail = "", .cpu_seconds = 6, .wall_seconds = 7, .limit = "cpu_limit"};
  VerdictCache first(folder / "verdicts");
  first.keep("aa01", wrong);
  first.keep("aa02", late);
  ASSERT_TRUE(first.find("aa02").has_value());
  VerdictCache second(folder / "verdicts");
  const auto found = second.find("aa01");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->end, ProgramEnd::kWrongAnswer);
  EXPECT_EQ(found->num_passed, 3u);
  EXPECT_FALSE(second.find("aa02").has_value());
  write_file((folder / "verdicts") + "/aa/aa01.json", "{\"end\": \"cut sho");
  EXPECT_FALSE(VerdictCache(folder / "verdicts").find("aa01").has_value()) << "a damaged file is no verdict";
}

TEST(VerdictCache, ItsKeysTellApartWhateverAVerdictDependsOn) {
  Isolation a, b;
  a.interpreter.version = "3.11.2", b.interpreter.version = "3.12.0";
  const std::set<std::string> keys = {verdict_key("strict", a, "tests", "program"), verdict_key("compat", a, "tests", "program"), verdict_key("strict", b, "tests", "program"),
                                      verdict_key("strict", a, "test", "sprogram"), verdict_key("strict", a, "tests", "program2")};
  EXPECT_EQ(keys.size(), 5u);
}

}  // namespace
}  // namespace canvaslab
