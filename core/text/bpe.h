#pragma once
// Byte pair encoding: text to token ids by merging neighbours in order of rank.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/text/json_fields.h"

namespace canvaslab {

/// The `model` of a tokenizer.json of type BPE.
class Bpe {
 public:
  /// Errors: input error naming the field that is missing, malformed or not supported.
  explicit Bpe(const JsonFields& model);

  std::optional<int32_t> id(std::string_view token) const;
  /// The token's text, or null for an unknown id.
  const std::string* token(int32_t id) const;
  /// One more than the largest id.
  size_t size() const { return tokens_.size(); }
  size_t num_tokens() const { return ids_.size(); }

  /// Encodes pieces of one text. Words that come again are looked up, so keep one encoder for a whole text.
  class Encoder {
   public:
    explicit Encoder(const Bpe& bpe) : bpe_(bpe) {}
    /// Appends the ids of `piece` to `out`. Only this encoder may append BPE output to `out`; other ids may be put between.
    /// Errors: input error when a character is unknown and so is the file's unk_token.
    void encode(std::string_view piece, std::vector<int32_t>& out);

   private:
    struct Slot {
      size_t key_begin = 0, out_begin = 0;
      uint32_t key_length = 0, out_length = 0;  ///< key_length 0: free
    };
    void encode_word(std::span<const int32_t> symbols, std::vector<int32_t>& out);
    void merge(std::span<const int32_t> symbols, std::vector<int32_t>& out);
    void grow();

    struct Symbol {
      int32_t id, previous, next;
    };
    struct Merge {
      int32_t rank, position, id;
    };
    const Bpe& bpe_;
    std::vector<int32_t> word_;      // symbols of the piece at hand
    std::vector<int32_t> keys_;      // symbols of all words seen
    std::vector<Slot> slots_;
    size_t num_words_ = 0;
    std::vector<Symbol> symbols_;    // of the word being merged
    std::vector<Merge> queue_;
  };

 private:
  friend class Encoder;
  struct Rule {
    uint64_t pair = ~uint64_t{0};
    int32_t rank = 0, id = 0;
  };
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  void read_vocabulary(const JsonFields& model);
  void read_merges(const JsonFields& model);
  void find_junctions();
  /// Splits a piece into single characters, bytes and unknowns: what merging starts from.
  void initial_symbols(std::string_view piece, std::vector<int32_t>& out) const;
  const Rule* rule(int32_t left, int32_t right) const;
  /// Whether any merge can ever join symbols across the border between two neighbouring initial symbols.
  bool may_join(int32_t left, int32_t right) const;

  std::string where_;
  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> ids_;
  std::vector<std::string> tokens_;       // by id; holes are empty and not known_
  std::vector<uint8_t> known_;
  std::vector<int32_t> character_ids_;    // by code point below 65536; -1 = no such token
  std::array<int32_t, 256> byte_ids_{};   // <0xHH>; -1 = no such token
  std::vector<Rule> rules_;               // open addressing by pair; a power of two in size
  std::vector<uint64_t> junctions_;       // the same, pairs of initial symbols that some merge may join
  std::string unk_token_;
  bool has_unk_ = false, fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace canvaslab
