#include "eval/datasets/task_text.h"

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr std::string_view kThoughtBegin = "<|channel>thought\n", kThoughtEnd = "<channel|>", kAnswerEnd = "<turn|>";
constexpr std::string_view kProbe = "QUESTION";

}  // namespace

TaskText::TaskText(const TextModel& text) : tokenizer_(text.tokenizer()) {
  for (const std::string_view marker : {std::string_view("<|channel>"), kThoughtEnd, kAnswerEnd})
    if (!tokenizer_.id(marker)) throw input_error("the tokenizer has no token '{}'; made questions are written with <|channel>, <channel|> and <turn|>", marker);
  const std::string rendered = tokenizer_.decode(text.prompt(std::string(kProbe), /*chat=*/true, {}));
  const size_t at = rendered.find(kProbe);
  if (at == std::string::npos || rendered.find(kProbe, at + 1) != std::string::npos) throw input_error("the chat template does not write a user's message exactly once; got '{}'", rendered);
  before_ = rendered.substr(0, at);
  after_ = rendered.substr(at + kProbe.size());
}

TaskTokens TaskText::tokens(const TaskItem& item) const {
  std::string answer;
  if (!item.thought.empty()) answer.append(kThoughtBegin).append(item.thought).append(kThoughtEnd);
  answer.append(item.answer).append(kAnswerEnd);
  return {.prompt = tokenizer_.encode(before_ + item.question + after_), .answer = tokenizer_.encode(answer)};
}

}  // namespace canvaslab
