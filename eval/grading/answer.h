#pragma once
// From the tokens of a sample to its answer: where the thought ends, and what a missing end means.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab {
class Tokenizer;
}

namespace canvaslab::grading {

/// What the reading of text needs of a checkpoint's tokenizer.
struct TextDecoder {
  std::function<std::string(std::span<const int32_t>)> decode;  ///< special tokens left out
  std::function<size_t(const std::string&)> count_tokens = {};  ///< of a text
  std::vector<int32_t> stop_ids = {};                                ///< each ends an answer
  std::optional<int32_t> channel_open, channel_close;           ///< <|channel> and <channel|>
};

/// Of a tokenizer, which must live as long; `stop_ids`: the model's end tokens.
TextDecoder text_decoder(const Tokenizer& tokenizer, std::vector<int32_t> stop_ids);

/// Thought and answer of one sample. Counts are tokens, markers and what follows the stop token not among them.
struct SplitAnswer {
  std::string thought, answer;
  size_t num_thought_tokens = 0, num_answer_tokens = 0;
  bool truncated = false;         ///< no stop token: the budget ended the sample
  bool thought_unclosed = false;  ///< a thought was opened and never closed; `answer` is empty then
};

/// Cuts at the first stop token. A sample that starts with <|channel> and "thought" answers behind its last <channel|>.
/// Source: evaluation.md 1.0.
SplitAnswer split_answer(std::span<const int32_t> tokens, const TextDecoder& decoder);

/// What became of a sample. The order is part of stored results: never renumber.
enum class Verdict { kCorrect, kWrong, kNoAnswer, kTruncated, kThoughtUnclosed, kGraderError, kInfraError };
std::string_view verdict_name(Verdict verdict);

/// The verdict on a strict score: a sample that is not correct is blamed on its lost end before its content.
Verdict verdict_of(const SplitAnswer& split, bool correct, bool has_answer);

}  // namespace canvaslab::grading
