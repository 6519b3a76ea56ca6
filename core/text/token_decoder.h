#pragma once
// Turning the texts of tokens back into text, one token at a time.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/json_types.h"

namespace canvaslab {

/// One stage of a decoder. It takes token texts and hands texts on; what it must still see more for, it keeps until
/// finish(). A stage that has glued its tokens hands on parts of one long token.
class DecodeStage {
 public:
  using Sink = std::function<void(std::string text)>;
  virtual ~DecodeStage() = default;
  virtual void push(std::string token, const Sink& next) = 0;
  virtual void finish(const Sink& /*next*/) {}
  /// True when it hands on parts of one long token instead of tokens.
  virtual bool glues() const { return false; }
  /// A fresh stage of the same kind that has seen nothing.
  virtual std::unique_ptr<DecodeStage> fresh() const = 0;
};

/// A chain of stages.
class DecodeChain {
 public:
  DecodeChain() = default;
  explicit DecodeChain(std::vector<std::unique_ptr<DecodeStage>> stages) : stages_(std::move(stages)) {}
  DecodeChain fresh() const;
  /// Takes the next token's text and returns what is certain by now.
  std::string push(std::string token);
  /// Returns the rest.
  std::string finish();

 private:
  void feed(size_t stage, std::string text, std::string& out);
  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

/// The `decoder` entry of tokenizer.json: Sequence, Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace; null for none
/// (tokens are then joined by spaces). Errors: input error naming the field for anything else.
DecodeChain make_decoder(const Json* spec, const std::string& where);

}  // namespace canvaslab
