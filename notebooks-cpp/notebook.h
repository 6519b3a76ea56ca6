#pragma once
// What a notebook's code uses: output that appears beneath its cell, claims that must hold, pictures.
//
// A notebook defines canvaslab::notebook::cells(). The build puts NOTEBOOK_CELL before every `// %%`, on the same line, so
// that output knows its cell; without that (the file compiled as it is) the program runs all the same.
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "eval/figure.h"

#define NOTEBOOK_JOIN_(a, b) a##b
#define NOTEBOOK_JOIN(a, b) NOTEBOOK_JOIN_(a, b)
/// A declaration, so that it may stand in a function and outside of one.
#define NOTEBOOK_CELL [[maybe_unused]] const bool NOTEBOOK_JOIN(notebook_cell_, __LINE__) = ::canvaslab::notebook::enter_cell(__FILE__, __LINE__);

namespace canvaslab::notebook {

/// The notebook's program: its code cells, from the one that opens this function to the last.
void cells();

// --- what cells call

/// One line (or several) of output.
void print_text(const std::string& text);
template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  print_text(fmt::format(format, std::forward<Args>(args)...));
}

/// What the text says and the numbers must bear out.
class FailedClaim : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
void claim_text(bool holds, const std::string& text);
/// Shows the sentence as proved; throws FailedClaim when it is not true.
template <typename... Args>
void claim(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  claim_text(holds, fmt::format(format, std::forward<Args>(args)...));
}

/// Draws the figure (its stem is set here) and puts it beneath the cell.
void show(Figure figure);

// --- behind it

/// What a cell left behind.
struct Output {
  enum class Kind { kText, kClaim, kPicture, kFailure };
  Kind kind = Kind::kText;
  size_t line = 0;        ///< of the marker of its cell; 0 outside of marked cells
  std::string text;       ///< kPicture: the SVG file's content
  std::string alternative;  ///< kPicture: what it shows, in words
};

/// Called by NOTEBOOK_CELL: output belongs to this cell from now on.
bool enter_cell(const char* path, size_t line);

/// Runs `body`, prints its output, and with arguments `--html FILE` writes the page. Returns the exit code: 0; 4 when a
/// claim failed or the body threw (the page, written all the same, shows where); 2 and 3 for wrong arguments and files.
int run(const std::vector<std::string>& arguments, void (*body)());

}  // namespace canvaslab::notebook
