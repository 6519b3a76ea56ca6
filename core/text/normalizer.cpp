#include "core/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <vector>

#include "core/text/json_fields.h"
#include "core/text/regex.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  std::string apply(std::string text) const override {
    for (const auto& part : parts_) text = part->apply(std::move(text));
    return text;
  }
  bool keeps_start() const override {
    for (const auto& part : parts_)
      if (!part->keeps_start()) return false;
    return true;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class Replace final : public Normalizer {
 public:
  Replace(TextPattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string text) const override { return pattern_.replace_all(text, content_); }
  bool keeps_start() const override { return !content_.empty(); }

 private:
  TextPattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string text) const override { return text.empty() ? text : prefix_ + text; }
  bool keeps_start() const override { return true; }

 private:
  std::string prefix_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string text) const override {
    size_t begin = 0, end = text.size(), kept = 0;
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      at += c.length;
      if (!is_white_space(c.code)) kept = at;
      else if (kept == 0) begin = at;
    }
    if (kept == 0) return "";
    if (right_) end = kept;
    return left_ ? text.substr(begin, end - begin) : text.substr(0, end);
  }
  bool keeps_start() const override { return !left_; }

 private:
  bool left_, right_;
};

/// Characters whose decomposition, composition or combining class came with Unicode 10 to 15.
bool is_newer_than_unicode_9(int32_t code) {
  static constexpr std::pair<int32_t, int32_t> kRanges[] = {
      {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},
      {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},
      {0x10781, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
      {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938},
      {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
      {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
      {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
  const auto* after = std::upper_bound(std::begin(kRanges), std::end(kRanges), code, [](int32_t c, const auto& range) { return c < range.first; });
  return after != std::begin(kRanges) && code <= std::prev(after)->second;
}

/// Canonical or compatibility forms by the tables of Unicode 9, the version that the reference uses: characters that
/// got theirs later stay as they are and separate what is around them.
class Unicode final : public Normalizer {
 public:
  explicit Unicode(utf8proc_option_t options) : options_(options) {}
  std::string apply(std::string text) const override {
    if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) return text;
    std::string out;
    size_t behind = 0;
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      if (is_newer_than_unicode_9(c.code)) {
        append_normal(std::string_view(text).substr(behind, at - behind), out);
        out.append(text, at, c.length);
        behind = at + c.length;
      }
      at += c.length;
    }
    append_normal(std::string_view(text).substr(behind), out);
    return out;
  }
  bool keeps_start() const override { return true; }

 private:
  void append_normal(std::string_view text, std::string& out) const {
    if (text.empty()) return;
    utf8proc_uint8_t* result = nullptr;
    const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &result, options_);
    if (length < 0) throw input_error("Unicode normalisation fails: {}", utf8proc_errmsg(length));
    out.append(reinterpret_cast<char*>(result), static_cast<size_t>(length));
    std::free(result);
  }

  utf8proc_option_t options_;
};

class ByteLevel final : public Normalizer {
 public:
  std::string apply(std::string text) const override { return to_byte_level(text); }
  bool keeps_start() const override { return true; }
};

struct ByteTable {
  std::array<std::string, 256> text;
  std::array<int16_t, 324> byte;  // code points 0..323
  ByteTable() {
    byte.fill(-1);
    uint32_t next = 256;  // bytes that do not print stand beyond the first 256 code points, in order
    for (uint32_t b = 0; b < 256; ++b) {
      const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const uint32_t code = prints ? b : next++;
      append_utf8(text[b], code);
      byte[code] = static_cast<int16_t>(b);
    }
  }
};

const ByteTable& byte_table() {
  static const ByteTable table;
  return table;
}

}  // namespace

std::string to_byte_level(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (char c : text) out += byte_table().text[static_cast<uint8_t>(c)];
  return out;
}

int32_t byte_level_byte(int32_t code) { return code >= 0 && code < 324 ? byte_table().byte[static_cast<size_t>(code)] : -1; }

std::unique_ptr<Normalizer> make_normalizer(const Json* spec, const std::string& where) {
  if (!spec) return nullptr;
  const JsonFields fields(*spec, where);
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> parts;
    const auto& list = fields.array("normalizers");
    for (size_t i = 0; i < list.size(); ++i) parts.push_back(make_normalizer(&list[i], fmt::format("{}[{}]", fields.at("normalizers"), i)));
    return std::make_unique<Sequence>(std::move(parts));
  }
  if (type == "Replace") return std::make_unique<Replace>(read_pattern(fields), fields.text("content"));
  if (type == "Prepend") return std::make_unique<Prepend>(fields.text("prepend"));
  if (type == "Strip") return std::make_unique<Strip>(fields.flag_or("strip_left", true), fields.flag_or("strip_right", true));
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  static const std::map<std::string, int> kForms = {{"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
                                                    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
                                                    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                                                    {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
  if (const auto form = kForms.find(type); form != kForms.end())
    return std::make_unique<Unicode>(static_cast<utf8proc_option_t>(form->second));
  throw input_error("{}: normalizer '{}' is not supported; known: Sequence, Replace, Prepend, Strip, ByteLevel, NFC, NFD, NFKC, NFKD",
                    fields.at("type"), type);
}

}  // namespace canvaslab
