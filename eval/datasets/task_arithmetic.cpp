// arithmetic - sums and differences of digits modulo 10, the running results as the thought.
#include <array>

#include "eval/datasets/task_chain.h"

namespace canvaslab {
namespace {

class Arithmetic final : public Task {
 public:
  explicit Arithmetic(const Options& options) : Task(options), num_operations_(std::array<size_t, 3>{3, 6, 16}[static_cast<size_t>(level() - 1)]), operands_(operands_of(options)) {}

  TaskItem make(TaskSplit split, uint64_t number) const override {
    TaskDraws draws(seed(), split, number);
    const DigitChain chain = make_chain(draws, split, num_operations_, operands_);
    const std::string value = std::to_string(chain.value());
    return {.question = chain.text + "=", .thought = chain.worked(), .answer = value, .reference = value, .category = fmt::format("{} operations", num_operations_)};
  }
  bool is_right(const TaskItem& item, std::string_view answer) const override { return answer == item.reference; }

 private:
  size_t num_operations_;
  Operands operands_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "arithmetic",
    .summary = "sums and differences of digits modulo 10, worked step by step; made, without a file",
    .source = "ours",
    .aliases = {},
    .parameters = task_parameters("operations: 3, 6, or 16 (whose worked answer needs more than 32 tokens)", {operands_param()}),
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Arithmetic>(options); }});

}  // namespace
}  // namespace canvaslab
