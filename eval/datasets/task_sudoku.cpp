// sudoku - 4x4 and 6x6 grids with some cells given; any completion is right.
#include <algorithm>
#include <array>

#include "eval/datasets/sudoku_grid.h"

namespace canvaslab {
namespace {

constexpr uint32_t kFamily = 2;
constexpr double kHeldOutShare = 0.125;

bool grid_is_held_out(std::string_view grid) {
  std::array<uint32_t, 36> cells{};
  std::copy(grid.begin(), grid.end(), cells.begin());
  return is_held_out(kFamily, std::span(cells).first(grid.size()), kHeldOutShare);
}

/// Completed grids are held out, 36 of the 288 with 4x4 cells. There a training question has no held-out grid among its completions, so that no question is in both splits.
class Sudoku final : public Task {
 public:
  explicit Sudoku(const Options& options) : Task(options), shape_(sudoku_shape(options)), num_clues_((shape_.side == 4 ? kClues4 : kClues6)[static_cast<size_t>(level() - 1)]) {
    if (shape_.side == 4)
      for (auto& grid : all_sudoku_grids(shape_)) grids_[grid_is_held_out(grid)].push_back(std::move(grid));
  }

  TaskItem make(TaskSplit split, uint64_t number) const override {
    TaskDraws draws(seed(), split, number);
    const bool held_out = split == TaskSplit::kHeldOut;
    std::string grid, question;
    do {
      do {
        grid = shape_.side == 4 ? grids_[held_out][draws.below(static_cast<uint32_t>(grids_[held_out].size()))] : random_sudoku_grid(shape_, draws);
      } while (shape_.side != 4 && grid_is_held_out(grid) != held_out);
      question = shown(grid, draws);
    } while (!held_out && std::any_of(grids_[1].begin(), grids_[1].end(), [&](const std::string& other) { return completes(other, question); }));
    return {.question = std::move(question), .thought = "", .answer = grid, .reference = grid, .category = fmt::format("{0}x{0}, {1} given", shape_.side, num_clues_)};
  }

  bool is_right(const TaskItem& item, std::string_view answer) const override { return is_sudoku_grid(shape_, answer) && completes(answer, item.question); }

 private:
  static constexpr std::array<size_t, 3> kClues4 = {8, 5, 4}, kClues6 = {26, 20, 14};

  static SudokuShape sudoku_shape(const Options& options) { return options.text("size") == "6" ? SudokuShape{.side = 6, .box_rows = 2, .box_columns = 3} : SudokuShape{.side = 4, .box_rows = 2, .box_columns = 2}; }

  static bool completes(std::string_view grid, std::string_view question) {
    if (grid.size() != question.size()) return false;
    for (size_t cell = 0; cell < grid.size(); ++cell)
      if (question[cell] != '.' && question[cell] != grid[cell]) return false;
    return true;
  }

  std::string shown(const std::string& grid, TaskDraws& draws) const {
    std::array<uint8_t, 36> cells;
    for (size_t cell = 0; cell < grid.size(); ++cell) cells[cell] = static_cast<uint8_t>(cell);
    draws.select(std::span(cells).first(grid.size()), num_clues_);
    std::string out(grid.size(), '.');
    for (size_t clue = 0; clue < num_clues_; ++clue) out[cells[clue]] = grid[cells[clue]];
    return out;
  }

  SudokuShape shape_;
  size_t num_clues_;
  std::array<std::vector<std::string>, 2> grids_;  ///< of the training and the held-out split; 4x4 only
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "sudoku",
    .summary = "small Sudoku grids to complete, row by row; made, without a file",
    .source = "ours",
    .aliases = {},
    .parameters = task_parameters("cells given: 8, 5 or 4 of 16; 26, 20 or 14 of 36", {text_param("size", "4", "cells in a row: 4, or 6 with boxes of 2 rows (answers then need more than 32 tokens)", {"4", "6"})}),
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Sudoku>(options); }});

}  // namespace
}  // namespace canvaslab
