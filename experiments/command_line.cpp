#include "experiments/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <system_error>
#include <type_traits>
#include <fmt/format.h>

namespace canvaslab {

CommandOption CommandOption::required() const { return option_->required(), *this; }
namespace {

/// Lets through whole numbers (or any number, with `real`) that `fits`.
CLI::Validator number_check(const std::string& expected, bool real, std::function<bool(double)> fits) {
  return CLI::Validator(
      [=](const std::string& text) {
        size_t used = 0;
        double value = 0;
        try {
          value = std::stod(text, &used);
        } catch (const std::exception&) {
          used = 0;
        }
        const bool good = used == text.size() && used > 0 && fits(value) && (real || value == std::floor(value));
        return good ? std::string() : fmt::format("{} is not {}", text.empty() ? "''" : text, expected);
      },
      "");
}

}  // namespace

CommandOption CommandOption::positive() const { return option_->check(number_check("a number above 0", true, [](double v) { return v > 0 && std::isfinite(v); })), *this; }
CommandOption CommandOption::range(int64_t least, int64_t most) const {
  return option_->check(number_check(fmt::format("a whole number from {} to {}", least, most), false,
                                     [=](double v) { return v >= static_cast<double>(least) && v <= static_cast<double>(most); })), *this;
}
CommandOption CommandOption::shows_default() const { return option_->capture_default_str(), *this; }
CommandOption CommandOption::one_each() const { return option_->allow_extra_args(false), *this; }
CommandOption CommandOption::excludes(const CommandOption& other) const { return option_->excludes(other.option_), *this; }
bool CommandOption::given() const { return option_->count() > 0; }

template <typename T>
CommandOption Command::option(const std::string& names, T& target, const std::string& help) const {
  CLI::Option* option = app_->add_option(names, target, help);
  if constexpr (std::is_same_v<T, uint64_t>)  // -1 would be taken for 2^64 - 1
    option->check(CLI::Validator([](const std::string& value) { return value.starts_with("-") ? value + " is below 0" : std::string(); }, ""));
  return CommandOption(option);
}
template CommandOption Command::option(const std::string&, std::string&, const std::string&) const;
template CommandOption Command::option(const std::string&, std::vector<std::string>&, const std::string&) const;
template CommandOption Command::option(const std::string&, int32_t&, const std::string&) const;
template CommandOption Command::option(const std::string&, int64_t&, const std::string&) const;
template CommandOption Command::option(const std::string&, uint64_t&, const std::string&) const;
template CommandOption Command::option(const std::string&, double&, const std::string&) const;

CommandOption Command::flag(const std::string& names, bool& target, const std::string& help) const {
  return CommandOption(app_->add_flag(names, target, help));
}
void Command::footer(const std::string& text) const { app_->footer(text); }
void Command::set_action(std::function<ExitCode()> run) const {
  app_->callback([exit_code = exit_code_, run = std::move(run)] { *exit_code = run(); });
}

CommandLine::CommandLine(const std::string& description, const std::string& footer) : app_(std::make_unique<CLI::App>(description, "canvaslab")) {
  app_->set_version_flag("--version", "canvaslab " CANVASLAB_VERSION);
  app_->require_subcommand(1);
  app_->footer(footer);
}
CommandLine::~CommandLine() = default;

Command CommandLine::command(const std::string& name, const std::string& help) { return Command(app_->add_subcommand(name, help), &exit_code_); }

/// What was printed has to arrive: a full disk or a closed pipe behind stdout is no success. Gives the exit code that says so.
static int arrived(int exit_code) {
  std::cout.flush();
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout) return exit_code;
  if (errno == EPIPE) return 128 + SIGPIPE;  // whoever read our output has seen enough
  fmt::print(stderr, "error: the output could not be written{}\nfree some space, or send it elsewhere\n", errno ? fmt::format(": {}", std::strerror(errno)) : "");
  return static_cast<int>(ExitCode::kBadInput);
}

int CommandLine::run(int argc, char** argv) {
  try {
    std::vector<std::string> names;
    for (const auto* command : app_->get_subcommands(nullptr)) names.push_back(command->get_name());
    if (argc > 1 && argv[1][0] != '-' && std::find(names.begin(), names.end(), argv[1]) == names.end())
      throw usage_error("there is no command '{}'{}\nknown: {}", argv[1], did_you_mean(argv[1], names), fmt::join(names, ", "));
    app_->parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return arrived(app_->exit(help_or_version));
  } catch (const CLI::ParseError& error) {
    const auto commands = app_->get_subcommands();
    fmt::print(stderr, "error: {}\nsee canvaslab {} --help\n", error.what(), commands.empty() ? "" : commands.front()->get_name());
    return static_cast<int>(ExitCode::kUsage);
  } catch (const UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::broken_pipe) return 128 + SIGPIPE;  // whoever read our output has seen enough
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(ExitCode::kBadInput);  // a file or a stream that failed
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\ntry a smaller model, canvas or batch\n");
    return static_cast<int>(ExitCode::kBadInput);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return arrived(static_cast<int>(exit_code_));
}

}  // namespace canvaslab
