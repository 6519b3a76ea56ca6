// choice - which of four options is the value of a chain of operations.
#include <array>
#include <span>

#include "eval/datasets/task_chain.h"

namespace canvaslab {
namespace {

/// Each option is written value first, "7C": the letter then follows its value in the question as it does in the thought, which a small model can look up.
class Choice final : public Task {
 public:
  explicit Choice(const Options& options) : Task(options), num_operations_(std::array<size_t, 3>{2, 3, 6}[static_cast<size_t>(level() - 1)]), operands_(operands_of(options)) {}

  TaskItem make(TaskSplit split, uint64_t number) const override {
    TaskDraws draws(seed(), split, number);
    const DigitChain chain = make_chain(draws, split, num_operations_, operands_);
    std::array<uint32_t, 10> values;
    for (uint32_t v = 0; v < 10; ++v) values[v] = v;
    std::swap(values[0], values[chain.value()]);
    draws.select(std::span(values).subspan(1), 3);
    const uint32_t place = draws.below(4);
    std::swap(values[0], values[place]);
    const std::string letter(1, static_cast<char>('A' + place));
    std::string question = chain.text + "?";
    for (uint32_t o = 0; o < 4; ++o) question += {static_cast<char>('0' + values[o]), static_cast<char>('A' + o)};
    return {.question = std::move(question), .thought = chain.worked() + letter, .answer = letter, .reference = letter, .category = fmt::format("{} operations", num_operations_)};
  }
  bool is_right(const TaskItem& item, std::string_view answer) const override { return answer == item.reference; }

 private:
  size_t num_operations_;
  Operands operands_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "choice",
    .summary = "four options, of which one is the value of a sum of digits modulo 10; made, without a file",
    .source = "ours",
    .aliases = {},
    .parameters = task_parameters("operations: 2, 3 or 6", {operands_param()}),
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Choice>(options); }});

}  // namespace
}  // namespace canvaslab
