#include "eval/datasets/task_chain.h"

#include <array>

namespace canvaslab {
namespace {

constexpr uint32_t kFamily = 1;
constexpr double kHeldOutShare = 0.125;

}  // namespace

std::string DigitChain::worked() const {
  std::string out;
  for (const uint32_t result : results) out.append(out.empty() ? 0 : 1, ',').push_back(static_cast<char>('0' + result));
  return out;
}

bool chain_is_held_out(std::string_view text) {
  // Three operands and the two operators between them decide alone, so that chains of all lengths agree.
  const std::array<uint32_t, 5> words = {static_cast<uint32_t>(text[0]), static_cast<uint32_t>(text[1]), static_cast<uint32_t>(text[2]), static_cast<uint32_t>(text[3]), static_cast<uint32_t>(text[4])};
  return is_held_out(kFamily, words, kHeldOutShare);
}

ParamSpec operands_param() { return text_param("operands", "any", "any: uniform digits; small: the likelier the smaller, easier to learn from", {"any", "small"}); }

Operands operands_of(const Options& options) { return options.text("operands") == "small" ? Operands::kSmall : Operands::kAny; }

DigitChain make_chain(TaskDraws& draws, TaskSplit split, size_t num_operations, Operands operands) {
  DigitChain out;
  const auto digit = [&] {
    const uint32_t limit = operands == Operands::kSmall ? 1 + draws.below(10) : 10;
    return static_cast<char>('0' + draws.below(limit));
  };
  do {
    out.text.assign(1, digit());
    for (int i = 0; i < 2; ++i) out.text += {draws.below(2) ? '+' : '-', digit()};
  } while (chain_is_held_out(out.text) != (split == TaskSplit::kHeldOut));
  for (size_t i = 2; i < num_operations; ++i) out.text += {draws.below(2) ? '+' : '-', digit()};
  auto value = static_cast<uint32_t>(out.text[0] - '0');
  for (size_t i = 1; i < out.text.size(); i += 2) {
    const auto operand = static_cast<uint32_t>(out.text[i + 1] - '0');
    value = (value + (out.text[i] == '+' ? operand : 10 - operand)) % 10;
    out.results.push_back(value);
  }
  return out;
}

}  // namespace canvaslab
