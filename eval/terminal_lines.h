#pragma once
// Text laid out for a terminal: lines of known width, nothing in them that the terminal would obey.
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab {

struct ViewSize {
  size_t columns = 80, rows = 24;
};

/// Builds lines of at most `columns` columns, plain or dimmed. Control and format characters are written out (\t, \x1B,
/// \u{202E}); a line feed shows as a return arrow and ends the line, several in a row end it once. Broken UTF-8 becomes
/// U+FFFD. Every line resets what it sets.
class TerminalLines {
 public:
  explicit TerminalLines(size_t columns) : columns_(columns) {}
  void add(std::string_view text, bool dim);
  /// Begins a new line unless the current one is empty.
  void end_line();
  /// All lines so far; the last one is closed.
  std::vector<std::string> take();

 private:
  void put(std::string_view bytes, size_t width, bool dim);
  void set_dim(bool dim);
  size_t columns_, used_ = 0;
  bool dim_ = false, after_feed_ = false;
  std::string line_;
  std::vector<std::string> lines_;
};

/// The first `columns` columns of a plain text that holds no control characters.
std::string clipped(std::string_view text, size_t columns);

}  // namespace canvaslab
