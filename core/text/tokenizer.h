#pragma once
// Text to token ids and back, as the tokenizer.json of a checkpoint says.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/text/added_tokens.h"
#include "core/text/bpe.h"
#include "core/text/normalizer.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/token_decoder.h"

namespace canvaslab {

/// A byte pair encoding tokenizer. Gives what the `tokenizers` library gives for the same file with add_special_tokens
/// off: nothing is added to a text (`post_processor`), nothing cut or padded (`truncation`, `padding`).
/// Thread-safe once loaded.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one in a folder. Errors: input error naming file and field.
  static Tokenizer load(const std::string& path);
  /// The same from text; `name` stands for the file in errors.
  static Tokenizer parse(std::string_view json, const std::string& name);

  /// Errors: input error when the text is not valid UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;

  /// Ids that the file does not know are left out. Valid UTF-8: what is broken becomes U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// Decodes ids one by one. The pieces together with the rest are what decode() gives for all of them; no piece ends
  /// inside a character.
  class Stream {
   public:
    std::string push(int32_t id);
    std::string finish();

   private:
    friend class Tokenizer;
    Stream(const Tokenizer& tokenizer, bool skip_special) : tokenizer_(tokenizer), skip_special_(skip_special), chain_(tokenizer.decoder_.fresh()) {}
    const Tokenizer& tokenizer_;
    bool skip_special_;
    DecodeChain chain_;
  };
  /// The tokenizer must outlive the stream.
  Stream stream(bool skip_special = false) const { return Stream(*this, skip_special); }

  std::optional<int32_t> id(std::string_view token) const;
  /// The token's text, or null for an id that the file does not know.
  const std::string* token(int32_t id) const;
  /// One more than the largest id.
  size_t size() const { return size_; }

 private:
  explicit Tokenizer(const JsonFields& file);
  void read_added_tokens(const JsonFields& file);
  void encode_plain(std::string_view text, bool at_start, Bpe::Encoder& encoder, std::vector<int32_t>& out) const;

  Bpe bpe_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  DecodeChain decoder_;
  struct Added {
    std::string content, written;  ///< as the file says, and as it reads once normalised
  };
  std::vector<Added> added_;
  std::unordered_map<int32_t, size_t> added_by_id_;
  std::unordered_map<std::string, int32_t> added_ids_;
  std::unordered_set<std::string> special_;
  AddedTokenMatcher raw_, normalized_;
  size_t size_ = 0;
};

/// A whole file. Errors: input error when it cannot be read.
std::string read_text_file(const std::string& path);

}  // namespace canvaslab
