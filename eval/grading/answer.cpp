#include "eval/grading/answer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/text/tokenizer.h"

namespace canvaslab::grading {

TextDecoder text_decoder(const Tokenizer& tokenizer, std::vector<int32_t> stop_ids) {
  return {.decode = [&tokenizer](std::span<const int32_t> ids) { return tokenizer.decode(ids, true); },
          .count_tokens = [&tokenizer](const std::string& words) { return tokenizer.encode(words).size(); },
          .stop_ids = std::move(stop_ids),
          .channel_open = tokenizer.id("<|channel>"),
          .channel_close = tokenizer.id("<channel|>")};
}

SplitAnswer split_answer(std::span<const int32_t> tokens, const TextDecoder& decoder) {
  SplitAnswer out;
  const auto stop = std::find_if(tokens.begin(), tokens.end(), [&](int32_t id) { return std::find(decoder.stop_ids.begin(), decoder.stop_ids.end(), id) != decoder.stop_ids.end(); });
  out.truncated = stop == tokens.end();
  tokens = tokens.first(static_cast<size_t>(stop - tokens.begin()));
  const auto answer_with = [&](std::span<const int32_t> part) {
    out.num_answer_tokens = part.size();
    out.answer = decoder.decode(part);
  };
  if (!decoder.channel_open || tokens.empty() || tokens[0] != *decoder.channel_open) {
    answer_with(tokens);
    return out;
  }
  const auto last_of = [&](std::optional<int32_t> id) {
    size_t at = tokens.size();
    while (at > 0 && tokens[at - 1] != id) --at;
    return at;  // one behind it, 0 for none
  };
  const size_t close = last_of(decoder.channel_close), open = last_of(decoder.channel_open);
  const auto inside = tokens.subspan(1, (close ? close - 1 : tokens.size()) - 1);
  std::string text = decoder.decode(inside);
  if (!text.starts_with("thought")) {  // another channel: no thought to take away
    answer_with(tokens);
    return out;
  }
  out.thought_unclosed = open > close;
  const auto thought = out.thought_unclosed ? tokens.subspan(1) : inside;
  out.num_thought_tokens = thought.size();
  out.thought = (out.thought_unclosed ? decoder.decode(thought) : std::move(text)).substr(7);
  if (!out.thought_unclosed) answer_with(tokens.subspan(close));
  return out;
}

std::string_view verdict_name(Verdict verdict) {
  constexpr std::array<std::string_view, 7> kNames = {"correct", "wrong", "no_answer", "truncated", "thought_unclosed", "grader_error", "infra_error"};
  return kNames[static_cast<size_t>(verdict)];
}

Verdict verdict_of(const SplitAnswer& split, bool correct, bool has_answer) {
  if (correct) return Verdict::kCorrect;
  if (split.truncated) return Verdict::kTruncated;
  if (split.thought_unclosed) return Verdict::kThoughtUnclosed;
  return has_answer ? Verdict::kWrong : Verdict::kNoAnswer;
}

}  // namespace canvaslab::grading
