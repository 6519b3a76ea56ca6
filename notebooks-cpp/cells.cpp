#include "notebooks-cpp/cells.h"

#include <sstream>

#include "core/error.h"

namespace canvaslab::notebook {
namespace {

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; }

/// The lines as one text, without blank lines at its ends.
std::string joined_lines(std::vector<std::string> lines) {
  while (!lines.empty() && is_blank(lines.back())) lines.pop_back();
  size_t first = 0;
  while (first < lines.size() && is_blank(lines[first])) ++first;
  std::string out;
  for (size_t i = first; i < lines.size(); ++i) out += lines[i] + "\n";
  return out;
}

std::vector<std::string> dedented(std::vector<std::string> lines) {
  size_t shared = std::string::npos;
  for (const auto& line : lines)
    if (!is_blank(line)) shared = std::min(shared, line.find_first_not_of(' '));
  for (auto& line : lines) line = is_blank(line) ? "" : line.substr(shared);
  return lines;
}

std::vector<std::string> uncommented(const std::vector<std::string>& lines, const Cell& cell, const std::string& path) {
  std::vector<std::string> out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (!is_blank(line) && !line.starts_with("//"))
      throw input_error("{}:{}: '{}' is no comment, but stands in a text cell\nbegin code with a line '// %%'", path, cell.line + 1 + i, line);
    out.push_back(is_blank(line) ? "" : line.substr(line.starts_with("// ") ? 3 : 2));
  }
  return out;
}

}  // namespace

std::vector<Cell> parse_cells(const std::string& text, const std::string& path) {
  std::vector<Cell> cells;
  std::vector<std::string> lines;
  const auto finish = [&] {
    if (!cells.empty()) cells.back().body = joined_lines(cells.back().is_text ? uncommented(lines, cells.back(), path) : dedented(lines));
    lines.clear();
  };
  std::istringstream in(text);
  size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("// %%")) {
      finish();
      if (line != "// %%" && line != "// %% [markdown]")
        throw input_error("{}:{}: unknown cell marker '{}'; expected '// %%' or '// %% [markdown]'", path, number, line);
      cells.push_back({.is_text = line != "// %%", .line = number, .body = ""});
    } else if (cells.empty() && !is_blank(line)) {
      throw input_error("{}:{}: a notebook begins with a cell marker, '// %%' or '// %% [markdown]'", path, number);
    } else {
      lines.push_back(line);
    }
  }
  finish();
  return cells;
}

}  // namespace canvaslab::notebook
