#pragma once
// Completed Sudoku grids of any small shape, as their digits row by row.
#include <string>
#include <string_view>
#include <vector>

#include "eval/datasets/task.h"

namespace canvaslab {

struct SudokuShape {
  size_t side = 4, box_rows = 2, box_columns = 2;  ///< box_rows * box_columns = side <= 9
};

/// Whether every digit from 1 to side stands once in each row, column and box.
bool is_sudoku_grid(const SudokuShape& shape, std::string_view digits);

/// Every grid, in order. 288 for side 4; do not ask for larger ones.
std::vector<std::string> all_sudoku_grids(const SudokuShape& shape);

/// A grid filled cell by cell with digits that fit, going back where none does. All grids can come; they are not quite equally likely.
std::string random_sudoku_grid(const SudokuShape& shape, TaskDraws& draws);

}  // namespace canvaslab
