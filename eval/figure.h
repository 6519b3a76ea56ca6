#pragma once
// A figure of panels with shared axes, drawn by gnuplot as PNG and SVG.
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace canvaslab {

/// A point with its interval; where there is none, low and high equal the value.
struct Mark {
  double x = 0, y = 0, x_low = 0, x_high = 0, y_low = 0, y_high = 0;
  static Mark at(double x, double y) { return {x, y, x, x, y, y}; }
  /// y with an interval of `half` to both sides.
  static Mark within(double x, double y, double half) { return {x, y, x, x, y - half, y + half}; }
};

/// A filled rectangle in a series' colour.
struct Box {
  size_t series = 0;
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
};

/// Coloured cells of size x_step by y_step; the first one's centre is at (x_first, y_first). Row-major, NaN = nothing there.
struct Heat {
  size_t rows = 0, columns = 0;
  double x_first = 0, x_step = 1, y_first = 0, y_step = 1;
  std::vector<double> values;
};

struct Text {
  double x = 0, y = 0;
  std::string text;
};

struct Panel {
  std::string title;
  std::vector<std::pair<size_t, std::vector<Mark>>> lines;   ///< index into Figure::series, marks
  std::vector<Mark> front;                                   ///< ringed marks, joined by a stair
  std::vector<Box> boxes;
  std::vector<Mark> whiskers;                                ///< intervals of y on boxes
  std::vector<Text> texts;                                   ///< beside their point
  std::optional<Heat> heat;
  std::optional<std::pair<double, double>> control;          ///< value and half width: drawn as line and band
};

enum class Scale { kLinear, kLog2, kLog10 };

struct FigureAxis {
  std::string label;
  Scale scale = Scale::kLinear;
  bool reversed = false;
  std::optional<std::pair<double, double>> range;            ///< else what the data need
  std::vector<std::pair<double, std::string>> ticks;         ///< else gnuplot's
  double tick_angle = 0;                                     ///< degrees, for long words
};

enum class KeyShape { kLine, kPoint, kBox };

struct Figure {
  std::string stem;                                          ///< path without extension
  std::string title, caption;
  FigureAxis x, y;
  std::vector<std::string> series;
  KeyShape key = KeyShape::kLine;                            ///< kLine also joins the marks of a series
  size_t marks_every = 1;                                    ///< a point shape at every n-th mark
  std::string control_label, front_label;                    ///< "" = not in this figure
  bool front_drops_first = true;                             ///< the stair is vertical, then level: more of x is better
  std::string heat_label;
  std::optional<std::pair<double, double>> heat_range;
  size_t columns = 0;                                        ///< of panels; 0 = by their number
  double panel_width = 0, panel_height = 0;                  ///< pixels of the SVG; 0 = by the number of columns
  double left = 96;                                          ///< room for the y axis' ticks and label
  std::vector<Panel> panels;
};

/// gnuplot's script for both files.
std::string figure_script(const Figure& figure);

/// Writes stem.png and stem.svg of every figure, side by side. Errors: usage when gnuplot is not installed; input when a
/// file cannot be written.
void draw_figures(const std::vector<Figure>& figures);

}  // namespace canvaslab
