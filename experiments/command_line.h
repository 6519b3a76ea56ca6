#pragma once
// The command line as the subcommands see it. Only command_line.cpp includes the parser behind it (CLI11): its headers
// cost every file that sees them ten seconds of compilation.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace canvaslab {

/// One option or positional argument; a handle that may be copied.
class CommandOption {
 public:
  explicit CommandOption(CLI::Option* option) : option_(option) {}
  CommandOption required() const;
  CommandOption positive() const;                                ///< numbers above 0 only
  CommandOption range(int64_t least, int64_t most) const;        ///< both ends allowed
  CommandOption shows_default() const;                           ///< --help prints the value it has now
  CommandOption one_each() const;                                ///< of a list: may be repeated, with one value each time
  CommandOption excludes(const CommandOption& other) const;      ///< not both
  bool given() const;                                            ///< after parsing: it was written

 private:
  CLI::Option* option_;
};

/// One subcommand. Targets of options must live as long as the program.
class Command {
 public:
  Command(CLI::App* app, ExitCode* exit_code) : app_(app), exit_code_(exit_code) {}
  /// T: std::string, std::vector<std::string>, int32_t, int64_t, uint64_t or double. Names: "--seed", or "config"
  /// for a positional one.
  template <typename T>
  CommandOption option(const std::string& names, T& target, const std::string& help) const;
  CommandOption flag(const std::string& names, bool& target, const std::string& help) const;
  void footer(const std::string& text) const;                    ///< after the options: examples
  /// What it does: a function that returns nothing, or an ExitCode.
  template <typename Run>
  void action(Run run) const {
    set_action([run = std::move(run)] {
      if constexpr (std::is_void_v<std::invoke_result_t<const Run&>>) return run(), ExitCode::kDone;
      else return run();
    });
  }

 private:
  void set_action(std::function<ExitCode()> run) const;
  CLI::App* app_;
  ExitCode* exit_code_;
};

class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& footer);
  ~CommandLine();
  Command command(const std::string& name, const std::string& help);
  /// Parses, runs the subcommand, prints errors. Returns the exit code.
  int run(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
  ExitCode exit_code_ = ExitCode::kDone;
};

}  // namespace canvaslab
