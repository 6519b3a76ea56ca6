#pragma once
// A figure of panels with shared axes, drawn by gnuplot as PNG and SVG.
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace canvaslab {

struct Mark {
  double x = 0, y = 0, x_error = 0, y_error = 0;  ///< errors: half widths of intervals, 0 = no bar
};

struct Panel {
  std::string title;
  std::vector<std::pair<size_t, std::vector<Mark>>> lines;   ///< index into Figure::series, marks
  std::optional<std::pair<double, double>> control;          ///< value and half width: drawn as line and band
};

struct Figure {
  std::string stem;                                          ///< path without extension
  std::string title, x_label, y_label, caption, control_label;
  bool log_x = false, log_y = false;
  bool connect = true;                                       ///< lines between the marks of a series
  size_t marks_every = 1;                                    ///< a point shape at every n-th mark
  std::vector<std::string> series;
  std::vector<Panel> panels;
};

/// gnuplot's script for both files.
std::string figure_script(const Figure& figure);

/// Writes stem.png and stem.svg. Errors: usage when gnuplot is not installed; input when a file cannot be written.
void draw_figure(const Figure& figure);

}  // namespace canvaslab
