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

/// How operands are drawn. kAny: uniform. kSmall: uniform below a limit that is uniform in 1 .. 10, so that each is the likelier the smaller
/// it is. With uniform operands a result does not depend on any one of its inputs, only on all of them, and a network that is
/// trained by gradients finds nothing to begin with; with small ones it is often the result before it.
enum class Operands { kAny, kSmall };

/// The parameter `operands` of tasks that ask about chains, and its value.
ParamSpec operands_param();
Operands operands_of(const Options& options);

/// A chain of `num_operations` >= 2. An eighth of all beginnings (the first three operands with the operators behind them) is held out, from every task that asks about chains.
DigitChain make_chain(TaskDraws& draws, TaskSplit split, size_t num_operations, Operands operands = Operands::kAny);

/// Whether a chain that begins with this text is held out; `text` holds at least three operands and two operators.
bool chain_is_held_out(std::string_view text);

}  // namespace canvaslab
