#include "eval/figure.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "eval/figure_layout.h"
#include "eval/figure_panel.h"

namespace canvaslab {
namespace {

/// Dark to bright with evenly rising lightness, so that it also reads in grey and with colour blindness.
constexpr const char* kPalette = "(0 '#0d2a63', 0.25 '#3d5a80', 0.5 '#7d8597', 0.75 '#c9a86a', 1 '#ffe08a')";

/// 1, 2 and 5 times powers of ten (a narrow range), else powers of ten; powers of two for an axis of doublings.
std::vector<double> log_ticks(const FigureRange& range, Scale scale) {
  std::vector<double> out;
  const auto add = [&](double value) {
    if (value >= range.low && value <= range.high) out.push_back(value);
  };
  if (scale == Scale::kLog2 && range.high / range.low > 5 && range.high / range.low < 5000) {
    for (double value = std::exp2(std::floor(std::log2(range.low))); value <= range.high; value *= 2) add(value);
    return out;
  }
  const double width = range.high / range.low;
  const std::vector<double> steps = width > 300 ? std::vector<double>{1} : width > 5 ? std::vector<double>{1, 2, 5} : std::vector<double>{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
  for (double decade = std::pow(10, std::floor(std::log10(range.low))); decade <= range.high; decade *= 10)
    for (double step : steps) add(decade * step);
  return out;
}

std::string tick_list(const FigureAxis& axis, const FigureRange& range, bool labels) {
  std::vector<std::string> out;
  if (!axis.ticks.empty()) {
    for (const auto& [at, text] : axis.ticks) out.push_back(fmt::format("{} {:g}", labels ? gnuplot_text(text) : "''", at));
  } else if (axis.scale != Scale::kLinear) {
    for (const double value : log_ticks(range, axis.scale)) out.push_back(fmt::format("'{}' {:g}", labels ? fmt::format("{:g}", value) : "", value));
  } else {
    return "";
  }
  return fmt::format("({})", fmt::join(out, ", "));
}

/// Numbers labels and arrows of the whole picture; panels have their own.
class Frame {
 public:
  Frame(std::ostringstream& out, const FigureLayout& at) : out_(out), at_(at) {}
  void label(double x, double y, const std::string& text, const std::string& style) { out_ << fmt::format("set label {} {} at {} {}\n", ++tag_, gnuplot_text(text), at_.at(x, y), style); }
  void stroke(double x, double y, const std::string& style) { out_ << fmt::format("set arrow {} from {} to {} nohead {}\n", ++tag_, at_.at(x, y), at_.at(x + 30, y), style); }
  void swatch(double x, double y, const std::string& style) { out_ << fmt::format("set object {} rect from {} to {} {}\n", ++tag_, at_.at(x + 8, y - 6), at_.at(x + 26, y + 6), style); }
  /// Later panels would paint it again.
  void clear() const {
    for (int tag = kFirst; tag <= tag_; ++tag) out_ << fmt::format("unset label {0}\nunset arrow {0}\nunset object {0}\n", tag);
  }

 private:
  static constexpr int kFirst = 1000;
  std::ostringstream& out_;
  const FigureLayout& at_;
  int tag_ = kFirst - 1;
};

void write_key(Frame& frame, const Figure& figure, const FigureLayout& at) {
  const bool control = !figure.control_label.empty();
  for (size_t i = 0; i < at.key_entries; ++i) {
    const double left = 14 + at.key_step * static_cast<double>(i % at.key_columns), line = at.key_top - FigureLayout::kKeyLine * (static_cast<double>(i / at.key_columns) + 0.5);
    std::string text;
    if (i < figure.series.size()) {
      text = figure.series[i];
      if (figure.key == KeyShape::kLine) frame.stroke(left, line, fmt::format("lw 1.8 lc rgb '{}'", figure_look(i).colour));
      if (figure.key == KeyShape::kBox) frame.swatch(left, line, fmt::format("fc rgb '{}' fs solid noborder", figure_look(i).colour));
      else frame.label(left + 15, line, "", fmt::format("point pt {} ps 1.0 lc rgb '{}'", figure_look(i).shape, figure_look(i).colour));
    } else if (control && i == figure.series.size()) {
      text = figure.control_label;
      frame.stroke(left, line, "lw 1.6 dt 2 lc rgb '#000000'");
    } else {
      text = figure.front_label;
      frame.stroke(left, line, "lw 1 lc rgb '#888888'");
      frame.label(left + 15, line, "", "point pt 6 ps 1.9 lw 1.4 lc rgb '#000000'");
    }
    frame.label(left + 38, line, text, "left font 'DejaVu Sans,11' tc rgb '#000000'");
  }
}

void write_frame(std::ostringstream& out, Frame& frame, const Figure& figure, const FigureLayout& at) {
  frame.label(14, at.height - 18, figure.title, "left font 'DejaVu Sans Bold,13' tc rgb '#000000'");
  for (size_t i = 0; i < at.caption.size(); ++i)
    frame.label(14, 10 + FigureLayout::kCaptionLine * (static_cast<double>(at.caption.size() - i) - 0.5), at.caption[i], "left font 'DejaVu Sans,9.5' tc rgb '#333333'");
  if (at.shared_x_label) frame.label(at.left + (at.width - at.left - FigureLayout::kRight) / 2, at.bottom - 44, figure.x.label, "center font 'DejaVu Sans,11' tc rgb '#000000'");
  write_key(frame, figure, at);
  out << "unset key\nset border 3 lw 1 lc rgb '#444444'\nset tics nomirror out scale 0.6\n";
  out << (figure.heat_label.empty() ? "set grid xtics ytics lw 0.6 lc rgb '#dddddd'\n" : fmt::format("set palette defined {}\n", kPalette));
}

void write_heat_bar(std::ostringstream& out, const Figure& figure, const FigureLayout& at, bool first) {
  if (figure.heat_label.empty()) return;
  if (!first) {
    out << "unset colorbox\n";
    return;
  }
  const double width = std::min(320.0, at.width - 80);
  out << fmt::format("set colorbox horizontal user origin {} size screen {:.5f}, screen {:.5f}\n", at.at(40, at.key_top - 22), width / at.width, 12 / at.height)
      << fmt::format("set cblabel {} offset 0,0.6\nset cbtics out scale 0.4 offset 0,0.4\n", gnuplot_text(figure.heat_label));
  if (figure.heat_range) out << fmt::format("set cbrange [{:g}:{:g}]\n", figure.heat_range->first, figure.heat_range->second);
}

void write_axes(std::ostringstream& out, const Figure& figure, const FigureLayout& at, size_t index, const FigureRange& x, const FigureRange& y) {
  const size_t column = index % at.columns, row = index / at.columns;
  const double left = at.left + static_cast<double>(column) * (at.panel_width + FigureLayout::kColumnGap);
  const double top = at.height - FigureLayout::kTop - static_cast<double>(row) * (at.panel_height + at.row_gap);
  out << fmt::format("set lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\nset tmargin at screen {:.5f}\nset bmargin at screen {:.5f}\n", left / at.width,
                     (left + at.panel_width) / at.width, top / at.height, (top - at.panel_height) / at.height);
  const std::string& title = figure.panels[index].title;  // a long one in smaller letters
  const double points = std::clamp(at.panel_width / (0.7 * static_cast<double>(std::max<size_t>(1, title.size()))), 7.0, 12.0);
  out << "set title " << gnuplot_text(title) << fmt::format(" offset 0,-0.5 font 'DejaVu Sans,{:.3g}'\n", points);
  if (figure.x.scale != Scale::kLinear) out << "set logscale x\n";
  if (figure.y.scale != Scale::kLinear) out << "set logscale y 10\nset mytics 1\n";
  out << fmt::format("set xrange [{:g}:{:g}]\nset yrange [{:g}:{:g}]\n", figure.x.reversed ? x.high : x.low, figure.x.reversed ? x.low : x.high, figure.y.reversed ? y.high : y.low,
                     figure.y.reversed ? y.low : y.high);
  const std::string turned = figure.x.tick_angle == 0 ? "norotate" : fmt::format("rotate by {:g} right", figure.x.tick_angle);
  out << "set xlabel " << gnuplot_text(at.shared_x_label ? "" : figure.x.label) << (figure.x.tick_angle == 0 ? " offset 0,0.3\n" : "\n") << "set mxtics 1\nset xtics " << turned << " " << tick_list(figure.x, x, true) << "\n";
  // The axis is shared: numbers and label stand at the first panel of a row.
  if (column == 0) out << "set ylabel " << gnuplot_text(figure.y.label) << "\nset format y '%g'\n";
  else out << "unset ylabel\nset format y ''\n";
  if (const auto ticks = tick_list(figure.y, y, column == 0); !ticks.empty()) out << "set ytics " << ticks << "\n";
}

struct Drawing {
  const Figure* figure;
  FILE* pipe;
};

void finish(const Drawing& drawing) {
  const int status = ::pclose(drawing.pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) throw usage_error("gnuplot is not installed; install it (apt-get install gnuplot-nox)");
  for (const char* extension : {".png", ".svg"}) {
    std::error_code ignored;
    const std::string path = drawing.figure->stem + extension;
    const auto size = std::filesystem::file_size(path, ignored);
    if (status != 0 || ignored || size == 0) throw input_error("{}: cannot be drawn (gnuplot ended with status {})\ncheck that the folder is writable and has free space", path, status);
  }
}

}  // namespace

std::string figure_script(const Figure& figure) {
  const FigureLayout at(figure);
  const auto [x, y] = figure_ranges(figure);
  std::ostringstream out;
  for (const bool png : {true, false}) {
    const double scale = png ? 2 : 1;
    out << "reset\nset encoding utf8\nset terminal " << (png ? "pngcairo fontscale 2 linewidth 2 pointscale 2" : "svg")
        << fmt::format(" size {:.0f},{:.0f} font 'DejaVu Sans,11' noenhanced background rgb 'white'\n", at.width * scale, at.height * scale);
    out << "set output " << gnuplot_text(figure.stem + (png ? ".png" : ".svg")) << "\nset samples 2\nset multiplot\n";
    Frame frame(out, at);
    write_frame(out, frame, figure, at);
    for (size_t p = 0; p < figure.panels.size(); ++p) {
      write_axes(out, figure, at, p, x, y);
      write_heat_bar(out, figure, at, p == 0);
      write_panel(out, figure, p, y);
      if (p == 0) frame.clear();
    }
    out << "unset multiplot\nunset output\n";
  }
  return out.str();
}

void draw_figures(const std::vector<Figure>& figures) {
  std::vector<Drawing> drawings;
  for (const auto& figure : figures) {
    FILE* pipe = ::popen("gnuplot >/dev/null 2>&1", "we");
    if (!pipe) throw usage_error("gnuplot cannot be started; install it (apt-get install gnuplot-nox)");
    drawings.push_back({&figure, pipe});
    const std::string text = figure_script(figure);
    std::fwrite(text.data(), 1, text.size(), pipe);
    std::fflush(pipe);
  }
  std::exception_ptr failure;
  for (const auto& drawing : drawings) {
    try {
      finish(drawing);
    } catch (const UserError&) {
      if (!failure) failure = std::current_exception();  // the others are waited for all the same
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace canvaslab
