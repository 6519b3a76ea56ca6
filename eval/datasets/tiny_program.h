#pragma once
// One-line functions of one whole number: a part of Python small enough to be run in process.
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace canvaslab {

/// `def f(x):return 6*x+7`. What is accepted means what it means in Python 3: whole numbers, the parameter, + - * // %, unary minus, parentheses, and `a if x<2 else b` with one comparison. Names
/// are single letters; the body may stand on a line of its own.
class TinyProgram {
 public:
  /// Nothing for any other text, for more than 256 bytes and for nesting deeper than 32.
  static std::optional<TinyProgram> parse(std::string_view text);
  /// Nothing where Python would raise, or where a value leaves 64 bits. There are no loops: a run takes at most one step a byte of the text.
  std::optional<int64_t> run(int64_t x) const { return value(root_, x); }

 private:
  friend class TinyProgramParser;
  enum class Op : uint8_t { kNumber, kParameter, kAdd, kSubtract, kMultiply, kDivide, kModulo, kNegate, kLess, kLessEqual, kGreater, kGreaterEqual, kEqual, kNotEqual, kConditional };
  struct Node {
    Op op = Op::kNumber;
    int64_t number = 0;
    int a = -1, b = -1, c = -1;  ///< operands; of a conditional: then, condition, else
  };
  std::optional<int64_t> value(int node, int64_t x) const;

  std::vector<Node> nodes_;
  int root_ = -1;
};

}  // namespace canvaslab
