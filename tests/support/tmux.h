#pragma once
// Commands in a real terminal: tmux draws it, and the test reads the screen.
#include <chrono>
#include <functional>
#include <string>

#include "tests/support/temporary.h"

namespace canvaslab {

/// A shell in a terminal of 80 x 24, with a tmux server of its own that ends with the object.
class Terminal {
 public:
  static bool available() { return shell("command -v tmux").exit_code == 0; }
  explicit Terminal(const std::string& folder) {
    tmux("new-session -d -x 80 -y 24 -c '" + folder + "' 'env -u NO_COLOR TERM=screen PS1=READY: bash --norc --noprofile'");
    wait([](const std::string& screen) { return screen.find("READY:") != std::string::npos; });
  }
  ~Terminal() { tmux("kill-server"); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  /// Types a line. What is typed should not hold what the test waits for.
  void type(const std::string& line) {
    write_file(folder_ / "line", line);
    tmux("load-buffer " + (folder_ / "line") + " \\; paste-buffer \\; send-keys Enter");
  }
  void press(const std::string& key) { tmux("send-keys " + key); }
  /// The screen as text; with escapes also its attributes.
  std::string screen(bool escapes = false) { return tmux(std::string("capture-pane -p") + (escapes ? " -e" : "")); }
  std::string value(const std::string& name) { return tmux("display-message -p '#{" + name + "}'"); }
  /// The screen as soon as it is as wanted; what stands there after a minute otherwise.
  std::string wait(const std::function<bool(const std::string&)>& wanted, bool escapes = false) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    std::string now;
    do now = screen(escapes);
    while (!wanted(now) && std::chrono::steady_clock::now() < end);
    return now;
  }
  std::string wait_for(const std::string& text) {
    return wait([&](const std::string& screen) { return screen.find(text) != std::string::npos; });
  }

 private:
  std::string tmux(const std::string& command) { return shell("LC_ALL=C.UTF-8 tmux -u -f /dev/null -S " + (folder_ / "socket") + " " + command).output; }
  TemporaryFolder folder_;
};

}  // namespace canvaslab
