#include "eval/grading/code.h"

#include <algorithm>
#include <array>
#include <vector>

namespace canvaslab::grading {
namespace {

/// The lines from `first` up to `last`, without the end of the last one.
std::string_view stretch(std::string_view text, const std::vector<std::string_view>& lines, size_t first, size_t last) {
  if (first >= last) return {};
  const auto begin = static_cast<size_t>(lines[first].data() - text.data()), end = static_cast<size_t>(lines[last - 1].data() - text.data()) + lines[last - 1].size();
  return text.substr(begin, end - begin);
}

struct Fence {
  char mark = 0;
  size_t length = 0;
  std::string_view info;  ///< what follows the marks
};

/// The fence that a line is; length 0 for none.
Fence fence_of(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos || (line[begin] != '`' && line[begin] != '~')) return {};
  const size_t end = std::min(line.find_first_not_of(line[begin], begin), line.size());
  Fence out{.mark = line[begin], .length = end - begin, .info = strip(line.substr(end))};
  const bool inline_code = out.mark == '`' && out.info.find('`') != std::string_view::npos;
  return out.length < 3 || inline_code ? Fence{} : out;
}

bool names_python(std::string_view info) {
  std::string word(info.substr(0, info.find_first_of(" \t{")));
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 3> kNames = {"python", "py", "python3"};
  return std::find(kNames.begin(), kNames.end(), word) != kNames.end();
}

}  // namespace

Extraction code_house(std::string_view answer) {
  const auto lines = split(answer, "\n");
  std::string_view last, last_python;
  bool found = false, found_python = false;
  for (size_t at = 0; at < lines.size(); ++at) {
    const Fence open = fence_of(lines[at]);
    if (open.length == 0) continue;
    size_t close = at + 1;
    for (; close < lines.size(); ++close) {
      const Fence fence = fence_of(lines[close]);
      if (fence.mark == open.mark && fence.length >= open.length && fence.info.empty()) break;
    }
    last = stretch(answer, lines, at + 1, close);
    found = true;
    if (names_python(open.info)) last_python = last, found_python = true;
    at = close;
  }
  if (!found) return {};
  return {std::string(found_python ? last_python : last), "code_block"};
}

Extraction code_live_code_bench(std::string_view answer) {
  const auto lines = split(answer, "\n");
  size_t last = lines.size(), before = lines.size();
  for (size_t at = 0; at < lines.size(); ++at)
    if (lines[at].find("```") != std::string_view::npos) before = last, last = at;
  if (before == lines.size()) return {};
  return {std::string(stretch(answer, lines, before + 1, last)), "code_block"};
}

}  // namespace canvaslab::grading
