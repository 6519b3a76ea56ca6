#include "core/text/regex.h"

#include <oniguruma.h>

#include <memory>

#include "core/error.h"
#include "core/text/utf8.h"

namespace canvaslab {

struct TextPattern::Compiled {
  regex_t* handle = nullptr;
  std::string where;
  ~Compiled() {
    if (handle) onig_free(handle);
  }
};

namespace {

std::string engine_message(int code, OnigErrorInfo* info) {
  UChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = info ? onig_error_code_to_str(buffer, code, info) : onig_error_code_to_str(buffer, code);
  return std::string(reinterpret_cast<char*>(buffer), static_cast<size_t>(length));
}

const UChar* bytes(std::string_view text) { return reinterpret_cast<const UChar*>(text.data()); }

}  // namespace

TextPattern TextPattern::regex(const std::string& pattern, const std::string& where) {
  static const int ready = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings, 1);
  }();
  if (ready != ONIG_NORMAL) throw input_error("{}: the regular expression engine does not start ({})", where, ready);
  auto compiled = std::make_shared<Compiled>();
  compiled->where = where;
  OnigErrorInfo info;
  const int code = onig_new(&compiled->handle, bytes(pattern), bytes(pattern) + pattern.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code != ONIG_NORMAL) {
    compiled->handle = nullptr;
    throw input_error("{}: '{}' is no regular expression: {}", where, pattern, engine_message(code, &info));
  }
  TextPattern out;
  out.compiled_ = std::move(compiled);
  return out;
}

TextPattern TextPattern::literal(std::string text) {
  if (text.empty()) return regex("", "empty pattern");
  TextPattern out;
  out.literal_ = std::move(text);
  return out;
}

void TextPattern::for_each_stretch(std::string_view text, const Visit& visit) const {
  if (text.empty()) return visit(0, 0, false);
  size_t behind = 0;  // end of the last stretch
  const auto report = [&](size_t begin, size_t end) {
    if (behind != begin) visit(behind, begin, false);
    visit(begin, end, true);
    behind = end;
  };
  if (!compiled_) {
    for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, behind))
      report(at, at + literal_.size());
  } else {
    const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(onig_region_new(),
                                                                    [](OnigRegion* r) { onig_region_free(r, 1); });
    bool matched = false;
    for (size_t from = 0; from <= text.size();) {
      const int found = onig_search(compiled_->handle, bytes(text), bytes(text) + text.size(), bytes(text) + from,
                                    bytes(text) + text.size(), region.get(), ONIG_OPTION_NONE);
      if (found == ONIG_MISMATCH) break;
      if (found < 0) throw input_error("{}: the regular expression cannot be applied: {}", compiled_->where, engine_message(found, nullptr));
      const auto begin = static_cast<size_t>(region->beg[0]), end = static_cast<size_t>(region->end[0]);
      if (begin == end && matched && behind == end) {  // an empty match directly behind a match: go on one character later
        const CodePoint next = code_point_at(text, from);
        from += next.length ? next.length : 1;
        continue;
      }
      report(begin, end);
      matched = true;
      from = end;
    }
  }
  if (behind != text.size()) visit(behind, text.size(), false);
}

std::string TextPattern::replace_all(std::string_view text, std::string_view content) const {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for_each_stretch(text, [&](size_t begin, size_t end, bool is_match) { out += is_match ? content : text.substr(begin, end - begin); });
  return out;
}

}  // namespace canvaslab
