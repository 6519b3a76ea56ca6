#include "eval/datasets/sudoku_grid.h"

#include <array>
#include <bit>

namespace canvaslab {
namespace {

/// A grid being filled; sets of digits are bits.
struct Filling {
  explicit Filling(const SudokuShape& s) : shape(s), digits(s.side * s.side, '0') {}
  size_t row(size_t cell) const { return cell / shape.side; }
  size_t column(size_t cell) const { return cell % shape.side; }
  size_t box(size_t cell) const { return row(cell) / shape.box_rows * (shape.side / shape.box_columns) + column(cell) / shape.box_columns; }
  uint32_t free(size_t cell) const { return ((1u << shape.side) - 1) & ~(rows[row(cell)] | columns[column(cell)] | boxes[box(cell)]); }
  void flip(size_t cell, uint32_t bit) { rows[row(cell)] ^= bit, columns[column(cell)] ^= bit, boxes[box(cell)] ^= bit; }

  const SudokuShape& shape;
  std::string digits;
  std::array<uint32_t, 9> rows{}, columns{}, boxes{};
};

/// Fills from `cell` on. `choose(set)` picks one bit of a set that is not empty; `done()` says whether a full grid is enough.
template <typename Choose, typename Done>
bool fill(Filling& grid, size_t cell, const Choose& choose, const Done& done) {
  if (cell == grid.digits.size()) return done();
  for (uint32_t left = grid.free(cell); left;) {
    const uint32_t bit = choose(left);
    left ^= bit;
    grid.flip(cell, bit);
    grid.digits[cell] = static_cast<char>('1' + std::countr_zero(bit));
    if (fill(grid, cell + 1, choose, done)) return true;
    grid.flip(cell, bit);
  }
  return false;
}

}  // namespace

bool is_sudoku_grid(const SudokuShape& shape, std::string_view digits) {
  Filling grid(shape);
  if (digits.size() != shape.side * shape.side) return false;
  for (size_t cell = 0; cell < digits.size(); ++cell) {
    if (digits[cell] < '1' || digits[cell] >= static_cast<char>('1' + shape.side)) return false;
    const uint32_t bit = 1u << (digits[cell] - '1');
    if (!(grid.free(cell) & bit)) return false;
    grid.flip(cell, bit);
  }
  return true;
}

std::vector<std::string> all_sudoku_grids(const SudokuShape& shape) {
  std::vector<std::string> out;
  Filling grid(shape);
  fill(grid, 0, [](uint32_t set) { return set & -set; }, [&] { return out.push_back(grid.digits), false; });
  return out;
}

std::string random_sudoku_grid(const SudokuShape& shape, TaskDraws& draws) {
  Filling grid(shape);
  const auto choose = [&](uint32_t set) {
    for (uint32_t skip = draws.below(static_cast<uint32_t>(std::popcount(set))); skip > 0; --skip) set &= set - 1;
    return set & -set;
  };
  fill(grid, 0, choose, [] { return true; });
  return grid.digits;
}

}  // namespace canvaslab
