#include "core/external_program.h"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "core/child_process.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/external_protocol.h"

namespace canvaslab {
namespace {

constexpr size_t kHandshakeBytes = 1 << 16, kComplaintBytes = 1 << 16;

/// Kept by path, size and time of change: scripts are hashed often, and weights are large.
std::string file_hash(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  std::error_code failed;
  const auto changed = std::filesystem::last_write_time(path, failed).time_since_epoch().count();
  const std::string key = fmt::format("{}\n{}\n{}", path, changed, std::filesystem::file_size(path, failed));
  const std::lock_guard lock(mutex);
  std::string& hash = known[key];
  if (!hash.empty()) return hash;
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (failed || !in) throw input_error("{}: cannot be read", path);
  return hash = hex(sha256(bytes));
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

class Program final : public ExternalProgram {
 public:
  Program(const ExternalCommand& command, std::string kind) : command_(command), words_(command_words(command.command)), kind_(std::move(kind)), code_(external_code(command)) {
    try {
      idle_.push_back(start());
    } catch (const UserError& error) {
      throw UserError(ExitCode::kUsage, error.what());
    }
    running_ = 1;
  }
  ~Program() override {
    for (const auto& process : idle_) process->close_input();
  }
  const std::string& handshake() const override { return handshake_; }

  void ask(const std::string& question, size_t most_bytes, const std::function<void(std::string_view)>& read) override {
    Lease process(*this);
    std::string refusal;
    try {
      const std::string answer = process->exchange(question, std::max(most_bytes + sizeof(uint32_t), kComplaintBytes), deadline(command_.timeout_s));
      FrameReader reader(answer);
      const auto status = reader.take<uint32_t>();
      if (status > 1) throw std::runtime_error(fmt::format("its answer begins with {}; expected 0 (an answer) or 1 (a failure)", status));
      if (status == 1) refusal = reader.rest();
      else if (answer.size() > most_bytes + sizeof(uint32_t)) throw std::runtime_error(fmt::format("its answer has {} bytes where at most {} can come", answer.size(), most_bytes + sizeof(uint32_t)));
      else read(reader.rest());
    } catch (const std::exception& error) {
      process.lose();
      throw failure(*process, error.what(), command_.timeout_s);
    }
    if (!refusal.empty()) throw UserError(ExitCode::kSomeFailed, fmt::format("{} failed: {}", name(), refusal));
  }

 private:
  /// A process out of the pool, or a new one; goes back unless it is lost.
  class Lease {
   public:
    explicit Lease(Program& program) : program_(program), process_(program.take()) {}
    ~Lease() { program_.give_back(lost_ ? nullptr : std::move(process_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ChildProcess* operator->() { return process_.get(); }
    ChildProcess& operator*() { return *process_; }
    void lose() {
      lost_ = true;
      process_->kill();
    }

   private:
    Program& program_;
    std::unique_ptr<ChildProcess> process_;
    bool lost_ = false;
  };

  std::unique_ptr<ChildProcess> take() {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return !idle_.empty() || command_.processes == 0 || running_ < command_.processes; });
    if (!idle_.empty()) {
      auto process = std::move(idle_.back());
      idle_.pop_back();
      return process;
    }
    ++running_;
    lock.unlock();
    try {
      return start();
    } catch (...) {
      give_back(nullptr);
      throw;
    }
  }
  void give_back(std::unique_ptr<ChildProcess> process) {
    const std::lock_guard lock(mutex_);
    if (process) idle_.push_back(std::move(process));
    else --running_;
    freed_.notify_one();
  }

  /// Starts a process and greets it.
  std::unique_ptr<ChildProcess> start() {
    if (external_code(command_) != code_) throw UserError(ExitCode::kSomeFailed, fmt::format("{}: its files changed since it was first started; start the command again to use what they say now", name()));
    std::unique_ptr<ChildProcess> process;
    try {
      process = std::make_unique<ChildProcess>(words_);
    } catch (const std::exception& error) {
      throw UserError(ExitCode::kSomeFailed, fmt::format("{}: {}; the command is run without a shell, its first word is a program", name(), error.what()));
    }
    try {
      std::string answer = process->exchange(fmt::format("canvaslab 1\nkind {}\nparameters {}\n", kind_, command_.parameters), kHandshakeBytes, deadline(command_.start_timeout_s));
      HandshakeAnswer read(answer);
      const std::lock_guard lock(mutex_);
      if (handshake_.empty()) handshake_ = std::move(answer);
      else if (answer != handshake_) throw std::runtime_error("it says other things of itself than its first process did");
    } catch (const std::exception& error) {
      process->kill();
      throw failure(*process, fmt::format("in the handshake, {}", error.what()), command_.start_timeout_s);
    }
    return process;
  }

  static ChildProcess::Deadline deadline(double seconds) {
    return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }
  std::string name() const { return fmt::format("external {} \"{}\"", kind_, command_.command); }
  UserError failure(ChildProcess& process, const std::string& what, double seconds) const {
    std::string tail = process.stderr_tail();
    while (!tail.empty() && tail.back() == '\n') tail.pop_back();
    const std::string limit = what.find("in time") != std::string::npos ? fmt::format(" ({} s)", format_real(seconds)) : "";
    return UserError(ExitCode::kSomeFailed, fmt::format("{}: {}{}{}{}", name(), what, limit, tail.empty() ? "" : "\nit wrote:\n", tail));
  }

  const ExternalCommand command_;
  const std::vector<std::string> words_;
  const std::string kind_, code_;
  std::string handshake_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<ChildProcess>> idle_;
  int64_t running_ = 0;
};

}  // namespace

ExternalCommand::ExternalCommand(const Options& options)
    : command(options.text("command")), parameters(options.text("parameters")), depends(options.text("depends")), timeout_s(options.real("timeout_s")),
      start_timeout_s(options.real("start_timeout_s")), processes(options.integer("processes")) {
  if ((command + parameters).find('\n') != std::string::npos) throw usage_error("external: 'command' or 'parameters' holds a line break; expected one line each");
}

std::vector<ParamSpec> external_params() {
  return {required_text_param("command", "program and arguments, split at blanks ('...' and \"...\" keep theirs), run without a shell"),
          text_param("parameters", "", "passed on to the program, for example 'bound=0.2 mode=fast'"),
          added_late(real_param("timeout_s", 60, 0.001, 1e6, "s", "for one answer; then the program is killed and the sample fails")),
          added_late(real_param("start_timeout_s", 120, 0.001, 1e6, "s", "for the first answer, which includes loading")),
          added_late(int_param("processes", 0, 0, 4096, "", "at most so many processes of it; 0: one per thread")),
          added_late(text_param("depends", "", "further files whose content the results depend on, by blanks"))};
}

std::vector<std::string> command_words(const std::string& command) {
  std::vector<std::string> words;
  bool open = false;  // inside a word
  char quote = 0;
  for (const char c : command) {
    if (quote && c == quote) {
      quote = 0;
    } else if (!quote && (c == '\'' || c == '"')) {
      quote = c;
      if (!open) words.emplace_back();
      open = true;
    } else if (!quote && (c == ' ' || c == '\t' || c == '\n')) {
      open = false;
    } else {
      if (!open) words.emplace_back();
      open = true;
      words.back() += c;
    }
  }
  if (quote) throw usage_error("external: the command {} has an open quote", command);
  if (words.empty() || words.front().empty()) throw usage_error("external: the command is empty; expected a program and its arguments, for example command=\"python3 my_sampler.py\"");
  return words;
}

std::string external_code(const ExternalCommand& command) {
  const auto words = command_words(command.command);
  std::string hashes;
  for (size_t i = 1; i < words.size(); ++i)
    if (is_file(words[i])) hashes += file_hash(words[i]);
  if (hashes.empty() && is_file(words[0])) hashes = file_hash(words[0]);
  std::istringstream further(command.depends);
  for (std::string path; further >> path;) {
    if (!is_file(path)) throw input_error("external: there is no file '{}', which 'depends' names", path);
    hashes += file_hash(path);
  }
  return hashes.empty() ? "no file" : "sha256:" + hex(sha256(hashes));
}

std::shared_ptr<ExternalProgram> open_external(const ExternalCommand& command, const std::string& kind) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<ExternalProgram>> programs;
  const std::string key = fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", kind, command.command, command.parameters, command.timeout_s, command.start_timeout_s, command.processes,
                                      external_code(command));
  const std::lock_guard lock(mutex);
  auto& program = programs[key];
  if (!program) program = std::make_shared<Program>(command, kind);
  return program;
}

}  // namespace canvaslab
