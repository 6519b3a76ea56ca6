// External programs that hang, die and talk nonsense: shell commands, so that nothing else is needed.
#include "core/external_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "core/error.h"
#include "core/external_protocol.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(CommandWords, AreSplitAtBlanksAndQuotesKeepThem) {
  EXPECT_THAT(command_words("python3  my.py\t--x=1"), ElementsAre("python3", "my.py", "--x=1"));
  EXPECT_THAT(command_words("a 'b c' \"d 'e'\" f'g h'i ''"), ElementsAre("a", "b c", "d 'e'", "fg hi", ""));
  EXPECT_THAT(command_words("echo $HOME *.py a;b"), ElementsAre("echo", "$HOME", "*.py", "a;b"));
  EXPECT_THROW(command_words("  "), UserError);
  EXPECT_THROW(command_words("'' x"), UserError);
  EXPECT_THROW(command_words("a 'b"), UserError);
}

/// A program in sh: reads a frame, answers it as a greeting, and then does what `body` says with the next ones.
/// `read` takes one frame (its length and its bytes come in one write); `say` writes a frame of a text with octal escapes.
class ShellProgram {
 public:
  explicit ShellProgram(const std::string& body, const std::string& greeting = "canvaslab 1\\n", int greeting_bytes = 12) {
    std::ofstream(folder_ / "program.sh") << "frame() { dd bs=65536 count=1 of=/dev/null 2>/dev/null; }\n"
                                          << fmt::format("frame\nprintf '\\{:03o}\\000\\000\\000{}'\n", greeting_bytes, greeting) << body << "\n";
  }
  std::string path() const { return folder_ / "program.sh"; }
  std::string folder() const { return folder_.path(); }
  ExternalCommand command(double timeout_s = 20, int64_t processes = 0, const std::string& depends = "") const {
    PluginExpr expr = parse_plugin(fmt::format("external(command=\"sh '{}'\", timeout_s={}, start_timeout_s={}, processes={}, depends=\"{}\")", path(), timeout_s, timeout_s, processes, depends));
    return ExternalCommand(resolve_options("sampler", "external", external_params(), expr));
  }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kEcho = R"(while frame; do printf '\010\000\000\000\000\000\000\000good'; done)";

std::string ask(ExternalProgram& program, size_t most = 100) {
  std::string out;
  program.ask("question", most, [&](std::string_view answer) { out = answer; });
  return out;
}
std::string complaint(ExternalProgram& program, size_t most = 100) {
  try {
    ask(program, most);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kSomeFailed);
    return error.what();
  }
}
std::string opening(const ShellProgram& shell, double timeout_s = 20) {
  try {
    open_external(shell.command(timeout_s), "sampler");
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(ExternalProgram, AnswersOneQuestionAfterTheOther) {
  const ShellProgram shell(kEcho);
  const auto program = open_external(shell.command(), "sampler");
  EXPECT_EQ(program->handshake(), "canvaslab 1\n");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(*program), "good");
  EXPECT_EQ(open_external(shell.command(), "sampler"), program) << "an equal call finds it";
  EXPECT_NE(open_external(shell.command(), "denoiser"), program);
}

TEST(ExternalProgram, ThatMisbehavesIsKilledAndAFreshOneServesTheNextQuestion) {
  struct Case {
    const char* body;
    const char* says;
    double timeout_s = 20;
  };
  for (const auto& [body, says, timeout_s] : {Case{"frame; sleep 1000", "it did not answer in time (0.2 s)", 0.2},
                                              Case{"frame; echo too bad >&2; exit 3", "it ended with exit code 3"},
                                              Case{"frame; kill -9 $$", "it was ended by signal 9"},
                                              Case{R"(frame; printf '\377\377\377\177')", "it announces an answer of 2147483647 bytes where at most"},
                                              Case{"frame; echo Loading the model", "it announces an answer of"},
                                              Case{R"(frame; printf '\002\000\000\000xx'; sleep 1000)", "its answer is 2 bytes too short"},
                                              Case{R"(frame; printf '\004\000\000\000\007\000\000\000'; sleep 1000)", "its answer begins with 7"},
                                              Case{R"(frame; printf '\020\000\000\000half'; exit 0)", "it ended with exit code 0"},
                                              Case{R"(frame; printf '\200\000\000\000\000\000\000\000'; head -c 124 /dev/zero; sleep 1000)", "its answer has 128 bytes where at most 104 can come"}}) {
    // Misbehaves at its first question ever, and answers all questions of the processes after that.
    TemporaryFolder folder;
    const std::string once = folder / "once";
    const ShellProgram shell(fmt::format("if mkdir '{}' 2>/dev/null; then {}; fi\n{}", once, body, kEcho));
    const auto program = open_external(shell.command(timeout_s), "sampler");
    EXPECT_THAT(complaint(*program), AllOf(HasSubstr("external sampler"), HasSubstr(shell.path()), HasSubstr(says))) << body;
    EXPECT_EQ(ask(*program), "good") << body;
  }
}

TEST(ExternalProgram, ShowsTheEndOfItsStandardErrorWhenItFails) {
  const ShellProgram shell("frame; yes 'a long story' | head -n 100000 >&2; echo 'the last word' >&2; exit 1");
  const std::string said = complaint(*open_external(shell.command(), "sampler"));
  EXPECT_THAT(said, HasSubstr("it wrote:\n"));
  EXPECT_TRUE(said.ends_with("the last word")) << said.substr(said.size() - 100);
  EXPECT_LT(said.size(), 5000u);
}

TEST(ExternalProgram, WhoseAnswerIsRefusedByTheReaderIsKilled) {
  const ShellProgram shell(kEcho);
  const auto program = open_external(shell.command(), "sampler");
  EXPECT_THROW(program->ask("question", 100, [](std::string_view) { throw std::runtime_error("nonsense"); }), UserError);
  EXPECT_EQ(ask(*program), "good");
}

TEST(ExternalProgram, MayRefuseAQuestionAndLivesOn) {
  const ShellProgram shell(R"(frame; printf '\011\000\000\000\001\000\000\000sorry'; )" + std::string(kEcho));
  const auto program = open_external(shell.command(20, 1), "sampler");
  EXPECT_THAT(complaint(*program), HasSubstr("failed: sorry"));
  EXPECT_EQ(ask(*program), "good");
}

TEST(ExternalProgram, ThatWritesUnaskedIsFound) {
  const ShellProgram shell(R"(printf 'hello'; sleep 1000)");
  const auto program = open_external(shell.command(5), "sampler");
  EXPECT_THAT(complaint(*program), ::testing::AnyOf(HasSubstr("writes without being asked"), HasSubstr("it announces an answer of")));
}

TEST(ExternalProgram, ThatDoesNotGreetIsAUsageError) {
  EXPECT_THAT(opening(ShellProgram("", "hello\\n", 6)), HasSubstr("its handshake starts with 'hello'"));
  EXPECT_THAT(opening(ShellProgram("sleep 1000", "canvas", 12), 0.2), HasSubstr("in the handshake, it did not answer in time (0.2 s)"));
  const auto opened = [](const std::string& command) {
    try {
      open_external(ExternalCommand(resolve_options("sampler", "external", external_params(), parse_plugin("external(command=\"" + command + "\")"))), "sampler");
      return std::string("no error");
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return std::string(error.what());
    }
  };
  EXPECT_THAT(opened("no_such_program_anywhere x"), HasSubstr("cannot be started: No such file or directory"));
  EXPECT_THAT(opened("true"), HasSubstr("in the handshake, it ended with exit code 0"));
  // What is seen first depends on which of the two is faster: its lines before the question, or behind it.
  EXPECT_THAT(opened("yes"), AnyOf(HasSubstr("in the handshake, it announces an answer of"), HasSubstr("in the handshake, it writes without being asked")));
}

TEST(ExternalProgram, ServesThreadsWithProcessesOfTheirOwnOrAsManyAsAllowed) {
  TemporaryFolder folder;
  const ShellProgram shell(fmt::format("mktemp '{}/XXXXXX' >/dev/null\n{}", folder.path(), kEcho));
  for (const int64_t processes : {1, 0}) {
    const auto program = open_external(shell.command(20, processes), "sampler");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 25; ++i) EXPECT_EQ(ask(*program), "good");
      });
    for (auto& thread : threads) thread.join();
    const auto started = std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator());
    if (processes == 1) EXPECT_EQ(started, 1);
    else EXPECT_LE(started, 1 + 4);
  }
}

TEST(ExternalCode, FollowsTheFilesThatTheCommandNames) {
  const ShellProgram shell(kEcho);
  const std::string before = external_code(shell.command());
  EXPECT_TRUE(before.starts_with("sha256:")) << before;
  const auto program = open_external(shell.command(), "sampler");
  std::ofstream(shell.path(), std::ios::app) << "# changed\n";
  EXPECT_NE(external_code(shell.command()), before);
  EXPECT_NE(open_external(shell.command(), "sampler"), program);
  std::ofstream(shell.folder() + "/weights") << "1";
  const std::string weights = shell.folder() + "/weights";
  EXPECT_NE(external_code(shell.command(20, 0, weights)), external_code(shell.command()));
  EXPECT_THROW(external_code(shell.command(20, 0, "no_such_file")), UserError);
}

TEST(ExternalProgram, IsNotRestartedFromAnotherScriptThanTheRunBeganWith) {
  const ShellProgram shell("frame; exit 1");
  const auto program = open_external(shell.command(), "sampler");
  std::ofstream(shell.path(), std::ios::app) << "# changed\n";
  EXPECT_THAT(complaint(*program), HasSubstr("exit code 1"));
  EXPECT_THAT(complaint(*program), HasSubstr("its files changed"));
}

TEST(HandshakeAnswer, RefusesWhatItDoesNotKnow) {
  const auto complaint_of = [](const std::string& text, auto use) {
    try {
      HandshakeAnswer answer(text);
      use(answer);
      answer.end();
      return std::string("no error");
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
  };
  const auto words = [](HandshakeAnswer& answer) { answer.words("facts", {"locks", "ordered"}); };
  EXPECT_EQ(complaint_of("canvaslab 1\nfacts locks ordered\n", words), "no error");
  EXPECT_THAT(complaint_of("canvaslab 1\nfacts lock\n", words), HasSubstr("did you mean 'locks'"));
  EXPECT_THAT(complaint_of("canvaslab 1\nfact locks\n", words), HasSubstr("has the key 'fact'"));
  EXPECT_THAT(complaint_of("canvaslab 1\nfacts locks\nfacts locks\n", words), HasSubstr("twice"));
  EXPECT_THAT(complaint_of("canvaslab 2\n", words), HasSubstr("expected 'canvaslab 1'"));
  const auto number = [](HandshakeAnswer& answer) { answer.integer("min_accepted", 0, 10); };
  EXPECT_THAT(complaint_of("canvaslab 1\nmin_accepted 11\n", number), HasSubstr("expected 0 to 10"));
  EXPECT_THAT(complaint_of("canvaslab 1\nmin_accepted few\n", number), HasSubstr("not a whole number"));
}

}  // namespace
}  // namespace canvaslab
