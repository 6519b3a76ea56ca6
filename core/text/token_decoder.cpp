#include "core/text/token_decoder.h"

#include <charconv>
#include <deque>

#include "core/text/json_fields.h"
#include "core/text/normalizer.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

using Sink = DecodeStage::Sink;

class Replace final : public DecodeStage {
 public:
  Replace(TextPattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void push(std::string token, const Sink& next) override { next(pattern_.replace_all(token, content_)); }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<Replace>(*this); }

 private:
  TextPattern pattern_;
  std::string content_;
};

/// A run of <0xHH> tokens is UTF-8 as a whole, or one U+FFFD for each of its tokens.
class ByteFallback final : public DecodeStage {
 public:
  void push(std::string token, const Sink& next) override {
    const int32_t byte = byte_of(token);
    if (byte >= 0) {
      run_ += static_cast<char>(byte);
      return;
    }
    finish(next);
    next(std::move(token));
  }
  void finish(const Sink& next) override {
    if (run_.empty()) return;
    if (first_broken_utf8(run_) == std::string::npos) next(run_);
    else
      for (size_t i = 0; i < run_.size(); ++i) next(std::string(kReplacementCharacter));
    run_.clear();
  }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<ByteFallback>(); }

 private:
  static int32_t byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    const char* digits = token.data() + 3;
    if (*digits == '+') ++digits;  // the reference's number parser takes a sign
    unsigned value = 0;
    const auto result = std::from_chars(digits, token.data() + 5, value, 16);
    return result.ec == std::errc() && result.ptr == token.data() + 5 ? static_cast<int32_t>(value) : -1;
  }
  std::string run_;
};

/// Joins everything into one token; as later stages take its parts as such, nothing has to be kept.
class Fuse final : public DecodeStage {
 public:
  void push(std::string token, const Sink& next) override { next(std::move(token)); }
  bool glues() const override { return true; }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<Fuse>(); }
};

/// Joins everything and hands it on as one token at the end: for stages that cannot work on parts.
class FuseAtEnd final : public DecodeStage {
 public:
  void push(std::string token, const Sink&) override { text_ += token; }
  void finish(const Sink& next) override {
    next(text_);
    text_.clear();
  }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<FuseAtEnd>(); }

 private:
  std::string text_;
};

/// Cuts up to `start` times `content` from each token's begin and up to `stop` times from its end.
class Strip final : public DecodeStage {
 public:
  Strip(std::string content, size_t start, size_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void push(std::string token, const Sink& next) override {
    size_t begin = 0, end = token.size();
    for (size_t i = 0; i < start_ && token.compare(begin, content_.size(), content_) == 0; ++i) begin += content_.size();
    for (size_t i = 0; i < stop_ && end >= content_.size() && token.compare(end - content_.size(), content_.size(), content_) == 0; ++i)
      end -= content_.size();
    next(begin < end ? token.substr(begin, end - begin) : "");
  }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<Strip>(*this); }

 private:
  std::string content_;
  size_t start_, stop_;
};

/// The begin of one long token that comes in parts.
class StripStart final : public DecodeStage {
 public:
  StripStart(std::string content, size_t start) : content_(std::move(content)), start_(start), left_(start) {}
  void push(std::string part, const Sink& next) override {
    size_t begin = 0;
    while (left_ > 0 && begin < part.size()) {
      if (part.compare(begin, content_.size(), content_) == 0) begin += content_.size(), --left_;
      else left_ = 0;
    }
    next(part.substr(begin));
  }
  bool glues() const override { return true; }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<StripStart>(content_, start_); }

 private:
  std::string content_;
  size_t start_, left_;
};

/// Byte-level stand-ins back to bytes. A token with any other character stands for its own bytes.
class ByteLevel final : public DecodeStage {
 public:
  void push(std::string token, const Sink& next) override {
    std::string bytes;
    for (size_t at = 0; at < token.size();) {
      const CodePoint c = code_point_at(token, at);
      const int32_t byte = byte_level_byte(c.code);
      if (byte < 0) {
        bytes = token;
        break;
      }
      bytes += static_cast<char>(byte);
      at += c.length;
    }
    held_ += bytes;
    size_t whole = held_.size();
    for (size_t back = 1; back <= 3 && back <= held_.size(); ++back)
      if (code_point_at(held_, held_.size() - back).truncated && (static_cast<uint8_t>(held_[held_.size() - back]) & 0xC0) == 0xC0) whole = held_.size() - back;
    next(replace_broken_utf8(std::string_view(held_).substr(0, whole)));
    held_.erase(0, whole);
  }
  void finish(const Sink& next) override {
    next(replace_broken_utf8(held_));
    held_.clear();
  }
  bool glues() const override { return true; }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<ByteLevel>(); }

 private:
  std::string held_;
};

class Metaspace final : public DecodeStage {
 public:
  Metaspace(std::string replacement, bool prepends) : replacement_(std::move(replacement)), prepends_(prepends) {}
  void push(std::string token, const Sink& next) override {
    next(TextPattern::literal(replacement_).replace_all(token, first_ && prepends_ ? "" : " "));
    first_ = false;
  }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<Metaspace>(replacement_, prepends_); }

 private:
  std::string replacement_;
  bool prepends_, first_ = true;
};

class JoinBySpaces final : public DecodeStage {
 public:
  void push(std::string token, const Sink& next) override {
    next(first_ ? std::move(token) : " " + token);
    first_ = false;
  }
  std::unique_ptr<DecodeStage> fresh() const override { return std::make_unique<JoinBySpaces>(); }

 private:
  bool first_ = true;
};

std::string one_character(const JsonFields& fields, const std::string& key) {
  std::string out = fields.text(key);
  if (out.empty() || code_point_at(out, 0).length != out.size()) throw input_error("{}: expected one character, got '{}'", fields.at(key), out);
  return out;
}

void add_stages(const Json& spec, const std::string& where, std::vector<std::unique_ptr<DecodeStage>>& out) {
  const JsonFields fields(spec, where);
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    const auto& list = fields.array("decoders");
    for (size_t i = 0; i < list.size(); ++i) add_stages(list[i], fmt::format("{}[{}]", fields.at("decoders"), i), out);
    return;
  }
  const bool parts = !out.empty() && out.back()->glues();  // what comes in are parts of one long token
  std::unique_ptr<DecodeStage> stage;
  if (type == "Fuse") {
    stage = std::make_unique<Fuse>();
  } else if (type == "ByteLevel") {
    stage = std::make_unique<ByteLevel>();
  } else if (type == "ByteFallback") {
    stage = std::make_unique<ByteFallback>();
  } else if (type == "Replace") {
    stage = std::make_unique<Replace>(read_pattern(fields), fields.text("content"));
  } else if (type == "Metaspace") {
    const std::string scheme = fields.text_or("prepend_scheme", "always");
    stage = std::make_unique<Metaspace>(one_character(fields, "replacement"), scheme != "never" && fields.flag_or("add_prefix_space", true));
  } else if (type == "Strip") {
    const int64_t start = fields.integer("start"), stop = fields.integer("stop");
    if (start < 0 || stop < 0) throw input_error("{}: start and stop must not be negative", where);
    const std::string content = one_character(fields, "content");
    if (parts && stop == 0) stage = std::make_unique<StripStart>(content, static_cast<size_t>(start));
    else stage = std::make_unique<Strip>(content, static_cast<size_t>(start), static_cast<size_t>(stop));
  } else {
    throw input_error("{}: decoder '{}' is not supported; known: Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace", fields.at("type"), type);
  }
  if (parts && !stage->glues()) out.push_back(std::make_unique<FuseAtEnd>());
  if (parts && type == "ByteLevel") out.push_back(std::make_unique<FuseAtEnd>());
  out.push_back(std::move(stage));
}

}  // namespace

DecodeChain DecodeChain::fresh() const {
  std::vector<std::unique_ptr<DecodeStage>> stages;
  for (const auto& stage : stages_) stages.push_back(stage->fresh());
  return DecodeChain(std::move(stages));
}

void DecodeChain::feed(size_t stage, std::string text, std::string& out) {
  if (stage == stages_.size()) {
    out += text;
    return;
  }
  stages_[stage]->push(std::move(text), [&](std::string handed) { feed(stage + 1, std::move(handed), out); });
}

std::string DecodeChain::push(std::string token) {
  std::string out;
  feed(0, std::move(token), out);
  return out;
}

std::string DecodeChain::finish() {
  std::string out;
  for (size_t i = 0; i < stages_.size(); ++i)
    stages_[i]->finish([&](std::string handed) { feed(i + 1, std::move(handed), out); });
  return out;
}

DecodeChain make_decoder(const Json* spec, const std::string& where) {
  std::vector<std::unique_ptr<DecodeStage>> stages;
  if (spec) add_stages(*spec, where, stages);
  else stages.push_back(std::make_unique<JoinBySpaces>());
  return DecodeChain(std::move(stages));
}

}  // namespace canvaslab
