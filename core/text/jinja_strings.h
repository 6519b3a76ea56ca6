#pragma once
// Python's string functions, as methods and filters of templates use them. All work on characters, not bytes.
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab::jinja {

bool is_python_space(int32_t code);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
/// First character upper, the others lower.
std::string capitalize(std::string_view text);
/// str.strip(): characters out of `characters`, or white space when it is null, from the left and/or right.
std::string strip(std::string_view text, const std::string* characters, bool left, bool right);
/// str.split(): by `separator`, or by runs of white space when it is null; at most `limit` cuts (negative: all).
std::vector<std::string> split(std::string_view text, const std::string* separator, int64_t limit, bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
/// At most `limit` times (negative: all).
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t limit);
int64_t num_characters(std::string_view text);

}  // namespace canvaslab::jinja
