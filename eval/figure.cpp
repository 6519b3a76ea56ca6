#include "eval/figure.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "core/error.h"

namespace canvaslab {
namespace {

/// Okabe and Ito's colours, told apart with every common colour blindness (yellow left out: it vanishes on paper; black is
/// the control's), each with a point shape of its own.
struct Look {
  const char* colour;
  int shape;
};
constexpr Look kLooks[] = {{"#0072B2", 7}, {"#D55E00", 5}, {"#009E73", 9}, {"#CC79A7", 13}, {"#E69F00", 11}, {"#56B4E9", 4}, {"#555555", 15}, {"#8C510A", 8}};
const Look& look(size_t series) { return kLooks[series % std::size(kLooks)]; }

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.back().empty() && lines.back().size() + word.size() + 1 > width) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

/// Everything's place in pixels of the SVG; the PNG is twice as fine.
struct Layout {
  size_t columns, rows, key_columns, key_rows;
  double width, height, panel_width, panel_height, bottom, key_top, key_step;
  std::vector<std::string> caption;
  static constexpr double kLeft = 96, kRight = 18, kTop = 66, kColumnGap = 26, kRowGap = 94, kAxis = 58, kKeyLine = 21, kCaptionLine = 15;

  explicit Layout(const Figure& figure) {
    const size_t panels = std::max<size_t>(1, figure.panels.size());
    columns = panels == 4 ? 2 : std::min<size_t>(3, panels);
    rows = (panels + columns - 1) / columns;
    panel_width = columns == 1 ? 620 : columns == 2 ? 410 : 330;
    panel_height = columns == 1 ? 380 : 340;
    width = kLeft + kRight + static_cast<double>(columns) * panel_width + static_cast<double>(columns - 1) * kColumnGap;
    size_t longest = figure.control_label.size();
    for (const auto& name : figure.series) longest = std::max(longest, name.size());
    const double entry = 52 + 7.6 * static_cast<double>(longest);
    const size_t entries = figure.series.size() + (figure.control_label.empty() ? 0 : 1);
    key_columns = std::clamp<size_t>(static_cast<size_t>((width - 24) / entry), 1, std::max<size_t>(1, entries));
    key_rows = (entries + key_columns - 1) / key_columns;
    key_step = (width - 24) / static_cast<double>(key_columns);
    caption = wrapped(figure.caption, static_cast<size_t>((width - 28) / 6.9));
    const double caption_height = kCaptionLine * static_cast<double>(caption.size());
    bottom = kAxis + kKeyLine * static_cast<double>(key_rows) + 12 + caption_height + 10;
    key_top = bottom - kAxis - 6;
    height = kTop + static_cast<double>(rows) * panel_height + static_cast<double>(rows - 1) * kRowGap + bottom;
  }
  std::string at(double x, double y) const { return fmt::format("screen {:.5f}, screen {:.5f}", x / width, y / height); }
};

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double value) {
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
  /// Room around the data; a linear axis begins at 0 where nothing lies below it.
  void pad(bool logarithmic, double factor) {
    if (!(low <= high)) low = 1, high = 2;
    if (logarithmic) {
      low /= factor, high *= factor;
    } else {
      const double span = std::max(high - std::min(0.0, low), 1e-9);
      low = low < 0 ? low - 0.04 * span : std::min(0.0, low);
      high += 0.05 * span;
    }
  }
};

std::pair<Range, Range> ranges(const Figure& figure) {
  Range x, y;
  for (const auto& panel : figure.panels) {
    for (const auto& [series, marks] : panel.lines)
      for (const auto& mark : marks) {
        if (!figure.log_x || mark.x > 0) x.add(mark.x);
        x.add(mark.x + mark.x_error);
        if (!figure.log_x || mark.x > mark.x_error) x.add(mark.x - mark.x_error);
        if (!figure.log_y || mark.y > 0) y.add(mark.y);
        y.add(mark.y + mark.y_error);
        if (!figure.log_y || mark.y - mark.y_error > 0.3 * mark.y) y.add(mark.y - mark.y_error);
      }
    if (panel.control) {
      y.add(panel.control->first + panel.control->second);
      if (!figure.log_y || panel.control->first > panel.control->second) y.add(panel.control->first - panel.control->second);
    }
  }
  x.pad(figure.log_x, 1.15);
  if (!figure.log_x && x.low >= 0 && figure.connect) x.low = std::min(x.low, 0.0);
  y.pad(figure.log_y, 1.25);
  return {x, y};
}

/// Ticks at 1, 2 and 5 times powers of ten (a narrow range), else at powers of ten.
std::string log_ticks(const Range& range, bool labels) {
  std::vector<std::string> out;
  const bool wide = range.high / range.low > 300;
  for (double decade = std::pow(10, std::floor(std::log10(range.low))); decade <= range.high; decade *= 10)
    for (double step : {1.0, 2.0, 5.0}) {
      if (wide && step > 1) continue;
      if (decade * step >= range.low && decade * step <= range.high) out.push_back(labels ? fmt::format("'{0:g}' {0:g}", decade * step) : fmt::format("'' {:g}", decade * step));
    }
  return fmt::format("({})", fmt::join(out, ", "));
}

void write_frame(std::ostringstream& out, const Figure& figure, const Layout& at, const Range& x, const Range& y) {
  int tag = 10;
  out << "set label 1 " << quoted(figure.title) << " at " << at.at(14, at.height - 18) << " left font 'DejaVu Sans Bold,13' tc rgb '#000000'\n";
  for (size_t i = 0; i < at.caption.size(); ++i)
    out << "set label " << ++tag << " " << quoted(at.caption[i]) << " at "
        << at.at(14, 10 + Layout::kCaptionLine * (static_cast<double>(at.caption.size() - i) - 0.5)) << " left font 'DejaVu Sans,9.5' tc rgb '#333333'\n";
  const size_t controls = figure.control_label.empty() ? 0 : 1;
  for (size_t i = 0; i < figure.series.size() + controls; ++i) {
    const double left = 14 + at.key_step * static_cast<double>(i % at.key_columns), line = at.key_top - Layout::kKeyLine * (static_cast<double>(i / at.key_columns) + 0.5);
    const bool control = i == figure.series.size();
    if (control || figure.connect)
      out << fmt::format("set arrow {} from {} to {} nohead lw {} {} lc rgb '{}'\n", ++tag, at.at(left, line), at.at(left + 30, line), control ? 1.6 : 1.8, control ? "dt 2" : "dt 1",
                         control ? "#000000" : look(i).colour);
    const std::string point = control ? "" : fmt::format(" point pt {} ps 1.0 lc rgb '{}'", look(i).shape, look(i).colour);
    out << fmt::format("set label {} '' at {}{}\n", ++tag, at.at(left + 15, line), point);
    out << fmt::format("set label {} {} at {} left font 'DejaVu Sans,11' tc rgb '#000000'\n", ++tag, quoted(control ? figure.control_label : figure.series[i]), at.at(left + 38, line));
  }
  out << "unset key\nset grid xtics ytics lw 0.6 lc rgb '#dddddd'\nset border 3 lw 1 lc rgb '#444444'\nset tics nomirror out scale 0.6\n";
  if (figure.log_x) out << "set logscale x 2\nset xtics 2 format '%g'\n";
  if (figure.log_y) out << "set logscale y 10\nset mytics 1\n";
  out << fmt::format("set xrange [{:g}:{:g}]\nset yrange [{:g}:{:g}]\n", x.low, x.high, y.low, y.high);
}

void write_panel(std::ostringstream& out, const Figure& figure, const Layout& at, size_t index, const Range& y) {
  const Panel& panel = figure.panels[index];
  const size_t column = index % at.columns, row = index / at.columns;
  const double left = Layout::kLeft + static_cast<double>(column) * (at.panel_width + Layout::kColumnGap);
  const double top = at.height - Layout::kTop - static_cast<double>(row) * (at.panel_height + Layout::kRowGap);
  out << fmt::format("set lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\nset tmargin at screen {:.5f}\nset bmargin at screen {:.5f}\n", left / at.width,
                     (left + at.panel_width) / at.width, top / at.height, (top - at.panel_height) / at.height);
  out << "set title " << quoted(panel.title) << " offset 0,-0.5 font 'DejaVu Sans,12'\nset xlabel " << quoted(figure.x_label) << " offset 0,0.3\n";
  // The axis is shared: numbers and label stand at the first panel of a row.
  if (column == 0) out << "set ylabel " << quoted(figure.y_label) << "\nset format y '%g'\n";
  else out << "unset ylabel\nset format y ''\n";
  if (figure.log_y) out << "set ytics " << log_ticks(y, column == 0) << "\n";
  out << "unset object 1\nunset arrow 1\n";
  if (panel.control) {
    const auto [value, half] = *panel.control;
    const double low = figure.log_y ? std::max(value - half, y.low) : value - half;
    out << fmt::format("set object 1 rect from graph 0, first {:g} to graph 1, first {:g} fc rgb '#000000' fs transparent solid 0.13 noborder behind\n", low, value + half);
    out << fmt::format("set arrow 1 from graph 0, first {:g} to graph 1, first {:g} nohead lw 1.6 dt 2 lc rgb '#000000'\n", value, value);
  }
  size_t marks = 0;
  for (const auto& [series, list] : panel.lines) marks += list.size();
  std::vector<std::string> parts;
  for (size_t l = 0; l < panel.lines.size(); ++l) {
    const auto& [series, list] = panel.lines[l];
    const std::string block = fmt::format("$p{}l{}", index, l), colour = fmt::format("lc rgb '{}'", look(series).colour);
    out << block << " << EOD\n";
    bool bars = false;
    for (const auto& mark : list) {
      const double low = figure.log_y ? std::max(mark.y - mark.y_error, y.low) : mark.y - mark.y_error;
      out << fmt::format("{:g} {:g} {:g} {:g} {:g} {:g}\n", mark.x, mark.y, low, mark.y + mark.y_error, mark.x - mark.x_error, mark.x + mark.x_error);
      bars = bars || mark.y_error > 0;
    }
    out << "EOD\n";
    if (bars && marks <= 80) {  // more bars than that hide the points
      parts.push_back(fmt::format("{} using 1:2:3:4 with yerrorbars {} pt 7 ps 0 lw 1.1 notitle", block, colour));
      parts.push_back(fmt::format("{} using 1:2:5:6 with xerrorbars {} pt 7 ps 0 lw 1.1 notitle", block, colour));
    }
    const std::string shape = fmt::format("pt {} ps {}", look(series).shape, marks > 80 ? 0.6 : 1.0);
    if (figure.connect) parts.push_back(fmt::format("{} using 1:2 with linespoints {} {} lw 1.8 pi {} notitle", block, colour, shape, figure.marks_every > 1 ? fmt::format("{}", figure.marks_every) : "1"));
    else parts.push_back(fmt::format("{} using 1:2 with points {} {} notitle", block, colour, shape));
  }
  if (parts.empty()) parts.push_back("NaN notitle");
  out << fmt::format("plot {}\n", fmt::join(parts, ", \\\n  "));
  for (int tag = 1; index == 0 && tag < 200; ++tag)
    if (tag == 1 || tag > 10) out << fmt::format("unset label {}\n", tag) << (tag > 10 ? fmt::format("unset arrow {}\n", tag) : "");
}

}  // namespace

std::string figure_script(const Figure& figure) {
  const Layout at(figure);
  const auto [x, y] = ranges(figure);
  std::ostringstream out;
  for (const bool png : {true, false}) {
    const double scale = png ? 2 : 1;
    out << "reset\nset encoding utf8\nset terminal " << (png ? "pngcairo fontscale 2 linewidth 2 pointscale 2" : "svg")
        << fmt::format(" size {:.0f},{:.0f} font 'DejaVu Sans,11' noenhanced background rgb 'white'\n", at.width * scale, at.height * scale);
    out << "set output " << quoted(figure.stem + (png ? ".png" : ".svg")) << "\nset samples 2\nset multiplot\n";
    write_frame(out, figure, at, x, y);
    for (size_t p = 0; p < figure.panels.size(); ++p) write_panel(out, figure, at, p, y);
    out << "unset multiplot\nunset output\n";
  }
  return out.str();
}

void draw_figure(const Figure& figure) {
  const std::string text = figure_script(figure);
  FILE* pipe = ::popen("gnuplot >/dev/null 2>&1", "we");
  if (!pipe) throw usage_error("gnuplot cannot be started; install it (apt-get install gnuplot-nox)");
  std::fwrite(text.data(), 1, text.size(), pipe);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) throw usage_error("gnuplot is not installed; install it (apt-get install gnuplot-nox)");
  for (const char* extension : {".png", ".svg"}) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(figure.stem + extension, ignored);
    if (status != 0 || ignored || size == 0)
      throw input_error("{}{}: cannot be drawn (gnuplot ended with status {})\ncheck that the folder is writable and has free space", figure.stem, extension, status);
  }
}

}  // namespace canvaslab
