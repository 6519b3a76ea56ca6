#pragma once
// UTF-8 by code points, and the character classes that tokenizers and templates ask for.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace canvaslab {

/// A code point and the bytes it takes. `length` 0 means that the text is over; `code` -1 that the bytes are broken, and
/// then `length` is the longest broken prefix that one U+FFFD stands for.
struct CodePoint {
  int32_t code = 0;
  uint32_t length = 0;
  bool truncated = false;  ///< broken only because the text ends: more bytes could complete it
};

/// The code point that begins at byte `at`. Overlong forms and surrogates are broken.
CodePoint code_point_at(std::string_view text, size_t at);

/// Appends `code` to `out`.
void append_utf8(std::string& out, uint32_t code);

/// Byte offset of the first broken sequence, or npos when the text is valid.
size_t first_broken_utf8(std::string_view text);

/// The text with every broken sequence replaced by U+FFFD, one per longest broken prefix.
std::string replace_broken_utf8(std::string_view text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Unicode White_Space.
bool is_white_space(int32_t code);

/// Letters, marks, decimal digits, connectors and joiners: what \w matches.
bool is_word_character(int32_t code);

/// Number in any of the three senses of Unicode (Nd, Nl, No).
bool is_number(int32_t code);

/// Columns that a character takes in a terminal: 2 for wide ones, 0 for marks that sit on the one before, -1 for what must
/// not reach a terminal as it is (controls, format characters such as changes of direction, separators of lines, and codes
/// that are private or not assigned).
int terminal_columns(int32_t code);

}  // namespace canvaslab
