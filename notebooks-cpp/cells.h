#pragma once
// The cells of a notebook: a .cpp file in percent format, which is at once a program and a text.
#include <string>
#include <vector>

namespace canvaslab::notebook {

struct Cell {
  bool is_text = false;
  size_t line = 0;        ///< of its marker, counted from 1
  std::string body;       ///< Markdown without the comment marks, or code without the indentation that all its lines share
};

/// Splits a notebook at its markers: a line `// %% [markdown]` begins a text cell, whose lines all begin with `//`; a line
/// `// %%` begins a code cell. Blank lines around a cell's body are left out.
/// Errors: input, naming path and line: an unknown marker, code in a text cell, anything before the first marker.
std::vector<Cell> parse_cells(const std::string& text, const std::string& path);

}  // namespace canvaslab::notebook
