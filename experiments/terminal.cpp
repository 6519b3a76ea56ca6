#include "experiments/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>

namespace canvaslab {
namespace {

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(2, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return;  // a terminal that is gone shows nothing
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void on_signal(int signal) {
  constexpr std::string_view kReset = "\033[0m\n";
  [[maybe_unused]] const auto written = ::write(2, kReset.data(), kReset.size());
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

bool redraws(int descriptor) {
  const char* term = std::getenv("TERM");
  return ::isatty(descriptor) && !std::getenv("NO_COLOR") && term && std::string_view(term) != "dumb";
}

ViewSize terminal_size() {
  struct winsize size {};
  if (::ioctl(2, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

void LiveRegion::draw(const std::vector<std::string>& lines) {
  std::string frame = height_ > 0 ? fmt::format("\033[{}A\r", height_) : "\r";
  for (const auto& line : lines) frame += line + "\033[K\n";
  frame += "\033[J";
  write_all(frame);
  height_ = lines.size();
}

void LiveRegion::clear() {
  if (height_ > 0) write_all(fmt::format("\033[{}A\r\033[J", height_));
  height_ = 0;
}

void reset_terminal_on_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, on_signal);
}

}  // namespace canvaslab
