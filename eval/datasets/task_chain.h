#pragma once
// Chains of additions and subtractions of digits modulo 10, which arithmetic and choice ask about.
#include <string>
#include <vector>

#include "eval/datasets/task.h"

namespace canvaslab {

struct DigitChain {
  std::string text;               ///< "6+7-5"
  std::vector<uint32_t> results;  ///< running results modulo 10, one an operation
  uint32_t value() const { return results.back(); }
  std::string worked() const;     ///< "3,8"
};

/// A chain of `num_operations` >= 2. An eighth of all beginnings (the first three operands with the operators behind them) is held out, from every task that asks about chains.
DigitChain make_chain(TaskDraws& draws, TaskSplit split, size_t num_operations);

/// Whether a chain that begins with this text is held out; `text` holds at least three operands and two operators.
bool chain_is_held_out(std::string_view text);

}  // namespace canvaslab
