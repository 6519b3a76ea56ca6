#pragma once
// Made questions as the token ids that a model is trained on and asked with.
#include "core/text/chat.h"
#include "eval/datasets/task.h"

namespace canvaslab {

struct TaskTokens {
  std::vector<int32_t> prompt;  ///< the chat template's, up to where the model begins
  std::vector<int32_t> answer;  ///< up to and with the end of the turn
};

/// Writes items in a checkpoint's chat format. An answer is `<|channel>thought\n` THOUGHT `<channel|>` ANSWER `<turn|>`, without a thought only ANSWER `<turn|>`: what grading splits again.
/// Thread-safe.
class TaskText {
 public:
  /// Errors: input error when there is no chat template, or no token of one of the markers. `text` must outlive this.
  explicit TaskText(const TextModel& text);
  /// The prompt is the one that a sweep and `generate` make of the question. The question has no white space at its ends, which a template may take away.
  TaskTokens tokens(const TaskItem& item) const;

 private:
  const Tokenizer& tokenizer_;
  std::string before_, after_;  ///< what the template writes around a question: rendering it for every item costs more than all else
};

}  // namespace canvaslab
