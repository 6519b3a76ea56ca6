#pragma once
// What a tokenizer does to text before it looks for tokens.
#include <memory>
#include <string>

#include "core/json_types.h"

namespace canvaslab {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string apply(std::string text) const = 0;
  /// True when the first character of the result always comes from the first character of the text.
  virtual bool keeps_start() const = 0;
};

/// The `normalizer` entry of tokenizer.json: Sequence, Replace, Prepend, Strip, ByteLevel, NFC, NFD, NFKC, NFKD; null for none.
/// Errors: input error naming the field for anything else.
std::unique_ptr<Normalizer> make_normalizer(const Json* spec, const std::string& where);

/// The printable stand-in of each byte that byte-level files use, as UTF-8; for a whole text.
std::string to_byte_level(std::string_view text);
/// The byte that a stand-in code point means, or -1.
int32_t byte_level_byte(int32_t code);

}  // namespace canvaslab
