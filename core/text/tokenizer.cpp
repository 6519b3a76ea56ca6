#include "core/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/text/utf8.h"

namespace canvaslab {

std::string read_text_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string out{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) throw input_error("{}: cannot be read; expected a text file", path);
  return out;
}

Tokenizer Tokenizer::load(const std::string& path) {
  std::error_code ignored;
  std::string file = path;
  if (std::filesystem::is_directory(path, ignored)) file = (std::filesystem::path(path) / "tokenizer.json").string();
  if (!std::filesystem::exists(file, ignored))
    throw input_error("{}: no such file; expected the tokenizer.json of a checkpoint, or the folder that holds it", file);
  return parse(read_text_file(file), file);
}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& name) {
  std::string problem;
  const Json file = parse_json(json, &problem);
  if (file.is_discarded()) throw input_error("{}: malformed JSON; expected a tokenizer.json\n{}", name, problem);
  return Tokenizer(JsonFields(file, name + ": "));
}

Tokenizer::Tokenizer(const JsonFields& file) : bpe_(JsonFields(file.need("model"), file.at("model"))) {
  if (const std::string version = file.text_or("version", "1.0"); version != "1.0")
    throw input_error("{}: '{}' is not supported; expected 1.0", file.at("version"), version);
  normalizer_ = make_normalizer(file.find("normalizer"), file.at("normalizer"));
  pre_tokenizer_ = make_pre_tokenizer(file.find("pre_tokenizer"), file.at("pre_tokenizer"));
  if (pre_tokenizer_ && pre_tokenizer_->reads_start() && normalizer_ && !normalizer_->keeps_start())
    throw input_error("{}: prepend_scheme 'first' after a normalizer that can drop the first character is not supported", file.at("pre_tokenizer"));
  decoder_ = make_decoder(file.find("decoder"), file.at("decoder"));
  read_added_tokens(file);
}

void Tokenizer::read_added_tokens(const JsonFields& file) {
  size_ = bpe_.size();
  if (!file.find("added_tokens")) return;
  const auto& list = file.array("added_tokens");
  auto next_id = static_cast<int64_t>(bpe_.num_tokens());  // what the reference gives to a token outside the vocabulary
  std::vector<std::pair<std::string, AddedToken>> raw, normalized;
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonFields fields(list[i], fmt::format("{}[{}]", file.at("added_tokens"), i));
    AddedToken token;
    token.content = fields.text("content");
    token.special = fields.flag_or("special", false);
    token.normalized = fields.flag_or("normalized", !token.special);
    token.single_word = fields.flag_or("single_word", false);
    token.lstrip = fields.flag_or("lstrip", false);
    token.rstrip = fields.flag_or("rstrip", false);
    if (token.content.empty()) continue;  // ignored, as in the reference
    const int64_t stated = fields.integer("id");
    if (added_ids_.contains(token.content)) throw input_error("{}: token '{}' is listed twice", fields.where(), token.content);
    const auto known = bpe_.id(token.content);
    const int64_t expected = known ? *known : next_id++;
    if (stated != expected)
      throw input_error("{}: token '{}' has id {}, but {} {}", fields.at("id"), token.content, stated,
                        known ? "the vocabulary says" : "tokens outside the vocabulary follow on it, so it should be", expected);
    token.id = static_cast<int32_t>(stated);
    size_ = std::max(size_, static_cast<size_t>(stated) + 1);
    added_by_id_[token.id] = added_.size();
    added_ids_[token.content] = token.id;
    if (token.special) special_.insert(token.content);
    std::string pattern = token.normalized && normalizer_ ? normalizer_->apply(token.content) : token.content;
    added_.push_back({token.content, pattern});
    (token.normalized ? normalized : raw).emplace_back(std::move(pattern), std::move(token));
  }
  raw_.build(std::move(raw), file.at("added_tokens"));
  normalized_.build(std::move(normalized), file.at("added_tokens"));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  if (const size_t broken = first_broken_utf8(text); broken != std::string_view::npos)
    throw input_error("the text is not valid UTF-8: byte {} of it is 0x{:02X}", broken, static_cast<unsigned>(static_cast<uint8_t>(text[broken])));
  std::vector<int32_t> out;
  out.reserve(text.size() / 3);
  Bpe::Encoder encoder(bpe_);
  size_t behind = 0;
  const auto plain = [&](size_t end) {
    if (behind < end) encode_plain(text.substr(behind, end - behind), behind == 0, encoder, out);
  };
  for (const auto& match : raw_.find(text)) {
    plain(match.begin);
    out.push_back(match.id);
    behind = match.end;
  }
  plain(text.size());
  return out;
}

void Tokenizer::encode_plain(std::string_view text, bool at_start, Bpe::Encoder& encoder, std::vector<int32_t>& out) const {
  std::string changed;
  if (normalizer_) {
    changed = normalizer_->apply(std::string(text));
    text = changed;
  }
  std::vector<TextPiece> pieces;
  const auto plain = [&](size_t begin, size_t end) {
    if (begin >= end) return;
    const std::string_view part = text.substr(begin, end - begin);
    if (!pre_tokenizer_) return encoder.encode(part, out);
    pieces.clear();
    pre_tokenizer_->split({std::string(part), at_start && begin == 0}, pieces);
    for (const auto& piece : pieces) encoder.encode(piece.text, out);
  };
  size_t behind = 0;
  for (const auto& match : normalized_.find(text)) {
    plain(behind, match.begin);
    out.push_back(match.id);
    behind = match.end;
  }
  plain(behind, text.size());
}

std::optional<int32_t> Tokenizer::id(std::string_view token) const {
  const auto found = added_ids_.find(std::string(token));
  return found != added_ids_.end() ? std::optional(found->second) : bpe_.id(token);
}

const std::string* Tokenizer::token(int32_t id) const {
  const auto found = added_by_id_.find(id);
  return found != added_by_id_.end() ? &added_[found->second].content : bpe_.token(id);
}

std::string Tokenizer::Stream::push(int32_t id) {
  const auto added = tokenizer_.added_by_id_.find(id);
  // An added token is decoded in its normalised form, which the decoder undoes.
  const std::string* text = added != tokenizer_.added_by_id_.end() ? &tokenizer_.added_[added->second].written : tokenizer_.bpe_.token(id);
  if (!text || (skip_special_ && tokenizer_.special_.contains(*text))) return "";
  return chain_.push(*text);
}

std::string Tokenizer::Stream::finish() { return chain_.finish(); }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  Stream all = stream(skip_special);
  std::string out;
  for (int32_t id : ids) out += all.push(id);
  return out + all.finish();
}

}  // namespace canvaslab
