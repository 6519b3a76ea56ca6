#pragma once
// Cutting a text into the stretches that byte pair encoding works on.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/json_types.h"

namespace canvaslab {

/// A stretch of text. `at_start`: it begins where the whole input begins.
struct TextPiece {
  std::string text;
  bool at_start = false;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Cuts one piece; empty results are left out.
  virtual void split(TextPiece piece, std::vector<TextPiece>& out) const = 0;
  /// True when the result depends on TextPiece::at_start.
  virtual bool reads_start() const { return false; }
};

/// The `pre_tokenizer` entry of tokenizer.json: Sequence, Split, ByteLevel, Metaspace, Digits, WhitespaceSplit; null for none.
/// Errors: input error naming the field for anything else.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json* spec, const std::string& where);

}  // namespace canvaslab
