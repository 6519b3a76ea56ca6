#include "eval/terminal_lines.h"

#include <utility>

#include <fmt/format.h>

#include "core/text/utf8.h"

namespace canvaslab {
namespace {

constexpr std::string_view kDim = "\033[2m", kPlain = "\033[0m", kReturnArrow = "\u21B5";

/// A character that may not reach the terminal, in letters.
std::string written_out(int32_t code) {
  if (code == '\t') return "\\t";
  if (code == '\r') return "\\r";
  return code < 0x100 ? fmt::format("\\x{:02X}", code) : fmt::format("\\u{{{:X}}}", code);
}

/// Variation selectors choose between glyphs of different widths, and terminals disagree about which: they are left out, so that the
/// width of a line stays known.
bool is_variation_selector(int32_t code) { return code >= 0xFE00 && code <= 0xFE0F; }

}  // namespace

void TerminalLines::set_dim(bool dim) {
  if (dim == dim_) return;
  line_ += dim ? kDim : kPlain;
  dim_ = dim;
}

void TerminalLines::end_line() {
  if (used_ == 0) return;
  set_dim(false);
  lines_.push_back(std::move(line_));
  line_.clear();
  used_ = 0;
}

void TerminalLines::put(std::string_view bytes, size_t width, bool dim) {
  if (used_ + width > columns_) end_line();
  set_dim(dim);
  line_ += bytes;
  used_ += width;
}

void TerminalLines::add(std::string_view text, bool dim) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const std::string_view bytes = point.code < 0 ? kReplacementCharacter : text.substr(at, point.length);
    at += point.length;
    if (point.code == '\n') {
      put(kReturnArrow, 1, dim);
      after_feed_ = true;
      continue;
    }
    if (after_feed_) end_line();
    after_feed_ = false;
    const int width = point.code < 0 ? 1 : terminal_columns(point.code);
    if (width < 0)
      for (const char letter : written_out(point.code)) put(std::string_view(&letter, 1), 1, dim);
    else if (!is_variation_selector(point.code)) put(bytes, static_cast<size_t>(width), dim);
  }
}

std::vector<std::string> TerminalLines::take() {
  end_line();
  line_.clear();  // marks without a character to sit on
  dim_ = after_feed_ = false;
  return std::exchange(lines_, {});
}

std::string clipped(std::string_view text, size_t columns) {
  TerminalLines lines(columns);
  lines.add(text, false);
  const auto all = lines.take();
  return all.empty() ? "" : all.front();
}

}  // namespace canvaslab
