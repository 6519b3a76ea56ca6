#pragma once
// What every grader scans for. All of it is linear in the text and without recursion.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab::grading {

/// What an extraction found and which rule found it. No rule: nothing was found.
struct Extraction {
  std::string text;
  std::string_view rule;
  bool found() const { return !rule.empty(); }
};

/// Python's str.isspace for one code point: Unicode white space and the four information separators.
bool is_python_space(int32_t code);
/// Python's \w for one code point: letters, numbers, underscore. Marks are not among them.
bool is_python_word(int32_t code);
/// Whether the code point that ends before byte `at` (or begins there) is a word character. False at the text's ends.
bool word_before(std::string_view text, size_t at);
bool word_at(std::string_view text, size_t at);
/// First byte at or after `at` that is no white space.
size_t skip_space(std::string_view text, size_t at);
/// The text without white space at its ends, as Python's strip.
std::string_view strip(std::string_view text);
/// First occurrence of `what` (not empty) at or behind byte `at`; npos when there is none. Faster than the library's on
/// texts in which its first byte is frequent.
size_t find_text(std::string_view text, std::string_view what, size_t at = 0);
/// Last occurrence.
size_t find_last_text(std::string_view text, std::string_view what);
/// Every occurrence of `from` replaced, left to right.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);
/// The parts between occurrences of `mark` (not empty): one more than there are of them.
std::vector<std::string_view> split(std::string_view text, std::string_view mark);
/// What follows the last occurrence of `mark`, or the whole text when there is none.
std::string_view after_last(std::string_view text, std::string_view mark);

/// Content of the last \boxed{...} or \fbox{...} whose braces balance. Braces behind a backslash do not count.
struct Boxed {
  bool found = false;
  bool skipped_unbalanced = false;  ///< a later box was opened and never closed
  std::string_view content;
};
Boxed last_boxed(std::string_view text);

}  // namespace canvaslab::grading
