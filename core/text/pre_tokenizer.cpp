#include "core/text/pre_tokenizer.h"

#include <algorithm>

#include "core/text/json_fields.h"
#include "core/text/normalizer.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Stretch {
  size_t begin, end;
  bool is_match;
};

/// Joins neighbours as the behaviour says; what keeps is_match afterwards is dropped.
std::vector<Stretch> join(std::vector<Stretch> in, Behavior behavior) {
  if (behavior == Behavior::kRemoved) return in;
  if (behavior == Behavior::kMergedWithNext) std::reverse(in.begin(), in.end());
  std::vector<Stretch> out;
  bool previous = false;
  for (const auto& s : in) {
    const bool joins = !out.empty() && (behavior == Behavior::kContiguous ? s.is_match == previous
                                        : behavior != Behavior::kIsolated && s.is_match && !previous);
    if (joins) {
      out.back().begin = std::min(out.back().begin, s.begin);
      out.back().end = std::max(out.back().end, s.end);
    } else {
      out.push_back({s.begin, s.end, false});
    }
    previous = s.is_match;
  }
  if (behavior == Behavior::kMergedWithNext) std::reverse(out.begin(), out.end());
  return out;
}

void cut(const TextPiece& piece, const std::vector<Stretch>& stretches, std::vector<TextPiece>& out) {
  for (const auto& s : stretches)
    if (!s.is_match && s.begin != s.end)
      out.push_back({piece.text.substr(s.begin, s.end - s.begin), piece.at_start && s.begin == 0});
}

void cut_by_pattern(const TextPiece& piece, const TextPattern& pattern, bool invert, Behavior behavior, std::vector<TextPiece>& out) {
  std::vector<Stretch> stretches;
  pattern.for_each_stretch(piece.text, [&](size_t begin, size_t end, bool is_match) { stretches.push_back({begin, end, is_match != invert}); });
  cut(piece, join(std::move(stretches), behavior), out);
}

/// Cuts by single characters: each one for which the test holds is a match.
template <typename Test>
void cut_by_characters(const TextPiece& piece, Test test, Behavior behavior, std::vector<TextPiece>& out) {
  std::vector<Stretch> stretches;
  size_t behind = 0;
  for (size_t at = 0; at < piece.text.size();) {
    const CodePoint c = code_point_at(piece.text, at);
    if (test(c.code)) {
      if (behind < at) stretches.push_back({behind, at, false});
      stretches.push_back({at, at + c.length, true});
      behind = at + c.length;
    }
    at += c.length;
  }
  if (behind < piece.text.size()) stretches.push_back({behind, piece.text.size(), false});
  cut(piece, join(std::move(stretches), behavior), out);
}

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void split(TextPiece piece, std::vector<TextPiece>& out) const override {
    std::vector<TextPiece> now, next;
    now.push_back(std::move(piece));
    for (const auto& part : parts_) {
      next.clear();
      for (auto& p : now) part->split(std::move(p), next);
      std::swap(now, next);
    }
    std::move(now.begin(), now.end(), std::back_inserter(out));
  }
  bool reads_start() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->reads_start(); });
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class Split final : public PreTokenizer {
 public:
  Split(TextPattern pattern, Behavior behavior, bool invert) : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(TextPiece piece, std::vector<TextPiece>& out) const override { cut_by_pattern(piece, pattern_, invert_, behavior_, out); }

 private:
  TextPattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}
  void split(TextPiece piece, std::vector<TextPiece>& out) const override {
    // The word pattern of GPT-2, which byte-level files refer to by this flag alone.
    static const TextPattern words = TextPattern::regex(
        R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", "byte-level word pattern");
    if (add_prefix_space_ && !piece.text.starts_with(' ')) piece.text.insert(0, " ");
    const size_t first = out.size();
    if (use_regex_) cut_by_pattern(piece, words, false, Behavior::kIsolated, out);
    else out.push_back(std::move(piece));
    for (size_t i = first; i < out.size(); ++i) out[i].text = to_byte_level(out[i].text);
  }

 private:
  bool add_prefix_space_, use_regex_;
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string replacement, Prepend prepend, bool splits) : replacement_(std::move(replacement)), prepend_(prepend), splits_(splits) {}
  void split(TextPiece piece, std::vector<TextPiece>& out) const override {
    static const TextPattern space = TextPattern::literal(" ");
    piece.text = space.replace_all(piece.text, replacement_);
    if (!piece.text.starts_with(replacement_) && (prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && piece.at_start)))
      piece.text.insert(0, replacement_);
    if (splits_) cut_by_pattern(piece, TextPattern::literal(replacement_), false, Behavior::kMergedWithNext, out);
    else out.push_back(std::move(piece));
  }
  bool reads_start() const override { return prepend_ == Prepend::kFirst; }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool splits_;
};

class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : individual_(individual) {}
  void split(TextPiece piece, std::vector<TextPiece>& out) const override {
    cut_by_characters(piece, is_number, individual_ ? Behavior::kIsolated : Behavior::kContiguous, out);
  }

 private:
  bool individual_;
};

class WhitespaceSplit final : public PreTokenizer {
 public:
  void split(TextPiece piece, std::vector<TextPiece>& out) const override { cut_by_characters(piece, is_white_space, Behavior::kRemoved, out); }
};

Behavior read_behavior(const JsonFields& fields) {
  const std::string word = fields.text("behavior");
  if (word == "Removed") return Behavior::kRemoved;
  if (word == "Isolated") return Behavior::kIsolated;
  if (word == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (word == "MergedWithNext") return Behavior::kMergedWithNext;
  if (word == "Contiguous") return Behavior::kContiguous;
  throw input_error("{}: '{}' is unknown; expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", fields.at("behavior"), word);
}

std::unique_ptr<PreTokenizer> make_metaspace(const JsonFields& fields) {
  const std::string scheme = fields.text_or("prepend_scheme", "always");
  auto prepend = Metaspace::Prepend::kAlways;
  if (scheme == "never") prepend = Metaspace::Prepend::kNever;
  else if (scheme == "first") prepend = Metaspace::Prepend::kFirst;
  else if (scheme != "always") throw input_error("{}: '{}' is unknown; expected always, first or never", fields.at("prepend_scheme"), scheme);
  if (!fields.flag_or("add_prefix_space", true)) {
    if (fields.find("prepend_scheme") && scheme != "never")
      throw input_error("{}: false contradicts prepend_scheme '{}'", fields.at("add_prefix_space"), scheme);
    prepend = Metaspace::Prepend::kNever;
  }
  const std::string replacement = fields.text("replacement");
  if (replacement.empty() || code_point_at(replacement, 0).length != replacement.size())
    throw input_error("{}: expected one character, got '{}'", fields.at("replacement"), replacement);
  return std::make_unique<Metaspace>(replacement, prepend, fields.flag_or("split", true));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json* spec, const std::string& where) {
  if (!spec) return nullptr;
  const JsonFields fields(*spec, where);
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> parts;
    const auto& list = fields.array("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) parts.push_back(make_pre_tokenizer(&list[i], fmt::format("{}[{}]", fields.at("pretokenizers"), i)));
    return std::make_unique<Sequence>(std::move(parts));
  }
  if (type == "Split") return std::make_unique<Split>(read_pattern(fields), read_behavior(fields), fields.flag_or("invert", false));
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(fields.flag_or("add_prefix_space", true), fields.flag_or("use_regex", true));
  if (type == "Metaspace") return make_metaspace(fields);
  if (type == "Digits") return std::make_unique<Digits>(fields.flag_or("individual_digits", false));
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  throw input_error("{}: pre-tokenizer '{}' is not supported; known: Sequence, Split, ByteLevel, Metaspace, Digits, WhitespaceSplit",
                    fields.at("type"), type);
}

}  // namespace canvaslab
