#include "core/text/jinja_strings.h"

#include <utf8proc.h>

#include <algorithm>

#include "core/text/utf8.h"

namespace canvaslab::jinja {
namespace {

template <typename Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (c.code == 0xDF && map(c.code) != c.code) out += "SS";
    else append_utf8(out, static_cast<uint32_t>(map(c.code)));
    at += c.length;
  }
  return out;
}

/// Byte offset behind the first character that `characters` (or white space) does not hold.
size_t strip_end(std::string_view text, size_t at, const std::string* characters, bool& stop) {
  const CodePoint c = code_point_at(text, at);
  stop = characters ? characters->find(text.substr(at, c.length)) == std::string::npos : !is_python_space(c.code);
  return at + c.length;
}

}  // namespace

bool is_python_space(int32_t code) { return is_white_space(code) || (code >= 0x1C && code <= 0x1F); }

std::string upper(std::string_view text) {
  return map_characters(text, [](int32_t c) { return c == 0xDF ? 0x1E9E : utf8proc_toupper(c); });
}
std::string lower(std::string_view text) {
  return map_characters(text, [](int32_t c) { return utf8proc_tolower(c); });
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = code_point_at(text, 0).length;
  return upper(text.substr(0, first)) + lower(text.substr(first));
}

std::string strip(std::string_view text, const std::string* characters, bool left, bool right) {
  size_t begin = 0, end = text.size();
  bool stop = false;
  while (left && begin < end) {
    const size_t next = strip_end(text, begin, characters, stop);
    if (stop) break;
    begin = next;
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    strip_end(text, last, characters, stop);
    if (stop) break;
    end = last;
  }
  return std::string(text.substr(begin, end - begin));
}

std::vector<std::string> split(std::string_view text, const std::string* separator, int64_t limit, bool from_right) {
  std::vector<std::pair<size_t, size_t>> cuts;  // begin and end of each separator, from the left
  if (separator) {
    if (from_right) {
      for (size_t end = text.size(); static_cast<int64_t>(cuts.size()) != limit;) {
        if (end < separator->size()) break;
        const size_t at = text.rfind(*separator, end - separator->size());
        if (at == std::string_view::npos) break;
        cuts.emplace_back(at, at + separator->size());
        end = at;
      }
      std::reverse(cuts.begin(), cuts.end());
    } else {
      for (size_t at = text.find(*separator); at != std::string_view::npos && static_cast<int64_t>(cuts.size()) != limit; at = text.find(*separator, at + separator->size()))
        cuts.emplace_back(at, at + separator->size());
    }
    std::vector<std::string> out;
    size_t behind = 0;
    for (const auto& [begin, end] : cuts) {
      out.emplace_back(text.substr(behind, begin - behind));
      behind = end;
    }
    out.emplace_back(text.substr(behind));
    return out;
  }
  // White space: runs count once, and the text's ends give no empty parts.
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (!is_python_space(c.code)) {
      if (!words.empty() && words.back().second == at) words.back().second = at + c.length;
      else words.emplace_back(at, at + c.length);
    }
    at += c.length;
  }
  if (limit >= 0 && static_cast<int64_t>(words.size()) > limit + 1) {
    const auto keep = static_cast<size_t>(limit);
    if (from_right) {
      const size_t joined = words.size() - keep;
      words[joined - 1].first = 0;
      words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(joined - 1));
    } else {
      words[keep].second = text.size();
      words.resize(keep + 1);
    }
  }
  std::vector<std::string> out;
  for (const auto& [begin, end] : words) out.emplace_back(text.substr(begin, end - begin));
  return out;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    size_t next = at + c.length;
    const bool ends = (c.code >= 10 && c.code <= 13) || (c.code >= 0x1C && c.code <= 0x1E) || c.code == 0x85 || c.code == 0x2028 || c.code == 0x2029;
    if (ends) {
      if (c.code == 13 && next < text.size() && text[next] == '\n') ++next;
      out.emplace_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) out.emplace_back(text.substr(begin));
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t limit) {
  std::string out;
  if (from.empty()) {  // between all characters and at both ends
    for (size_t at = 0; limit != 0; --limit) {
      out += to;
      if (at >= text.size()) return out;
      const size_t length = code_point_at(text, at).length;
      out += text.substr(at, length);
      text.remove_prefix(length);
    }
    return out + std::string(text);
  }
  size_t behind = 0;
  for (size_t at = text.find(from); at != std::string_view::npos && limit != 0; at = text.find(from, behind), --limit) {
    out += text.substr(behind, at - behind);
    out += to;
    behind = at + from.size();
  }
  return out += text.substr(behind);
}

int64_t num_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

}  // namespace canvaslab::jinja
