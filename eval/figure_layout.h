#pragma once
// Where everything of a figure goes: pixels of the SVG; the PNG is twice as fine.
#include <string>
#include <vector>

#include "eval/figure.h"

namespace canvaslab {

/// What a text costs in width at this many points of DejaVu Sans, generously.
double text_width(size_t characters, double points);

struct FigureLayout {
  explicit FigureLayout(const Figure& figure);
  size_t columns, rows, key_columns, key_rows, key_entries;
  double width, height, panel_width, panel_height, left, bottom, row_gap, key_top, key_step;
  std::vector<std::string> caption;
  bool shared_x_label;   ///< too long for one panel: it stands once, below the last row
  static constexpr double kRight = 18, kTop = 66, kColumnGap = 26, kAxis = 58, kKeyLine = 21, kCaptionLine = 15;
  /// gnuplot's screen coordinates of a pixel, counted from the lower left corner.
  std::string at(double x, double y) const;
};

struct FigureRange {
  double low, high;
  void add(double value);
  /// Room around the data; a linear axis begins at 0 where nothing lies below it.
  void pad(Scale scale, double factor);
};
/// What both axes must hold.
std::pair<FigureRange, FigureRange> figure_ranges(const Figure& figure);

}  // namespace canvaslab
