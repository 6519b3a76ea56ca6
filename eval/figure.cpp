#include "eval/figure.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "core/error.h"
#include "eval/figure_layout.h"

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

/// Dark to bright with evenly rising lightness, so that it also reads in grey and with colour blindness.
constexpr const char* kPalette = "(0 '#0d2a63', 0.25 '#3d5a80', 0.5 '#7d8597', 0.75 '#c9a86a', 1 '#ffe08a')";
constexpr size_t kMostBars = 80;  ///< more intervals than that hide the points

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + "\"";
}

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
    for (const auto& [at, text] : axis.ticks) out.push_back(fmt::format("{} {:g}", labels ? quoted(text) : "''", at));
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
  void label(double x, double y, const std::string& text, const std::string& style) { out_ << fmt::format("set label {} {} at {} {}\n", ++tag_, quoted(text), at_.at(x, y), style); }
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
      if (figure.key == KeyShape::kLine) frame.stroke(left, line, fmt::format("lw 1.8 lc rgb '{}'", look(i).colour));
      if (figure.key == KeyShape::kBox) frame.swatch(left, line, fmt::format("fc rgb '{}' fs solid noborder", look(i).colour));
      else frame.label(left + 15, line, "", fmt::format("point pt {} ps 1.0 lc rgb '{}'", look(i).shape, look(i).colour));
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
      << fmt::format("set cblabel {} offset 0,0.6\nset cbtics out scale 0.4 offset 0,0.4\n", quoted(figure.heat_label));
  if (figure.heat_range) out << fmt::format("set cbrange [{:g}:{:g}]\n", figure.heat_range->first, figure.heat_range->second);
}

void write_axes(std::ostringstream& out, const Figure& figure, const FigureLayout& at, size_t index, const FigureRange& x, const FigureRange& y) {
  const size_t column = index % at.columns, row = index / at.columns;
  const double left = at.left + static_cast<double>(column) * (at.panel_width + FigureLayout::kColumnGap);
  const double top = at.height - FigureLayout::kTop - static_cast<double>(row) * (at.panel_height + at.row_gap);
  out << fmt::format("set lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\nset tmargin at screen {:.5f}\nset bmargin at screen {:.5f}\n", left / at.width,
                     (left + at.panel_width) / at.width, top / at.height, (top - at.panel_height) / at.height);
  out << "set title " << quoted(figure.panels[index].title) << " offset 0,-0.5 font 'DejaVu Sans,12'\n";
  if (figure.x.scale != Scale::kLinear) out << "set logscale x\n";
  if (figure.y.scale != Scale::kLinear) out << "set logscale y 10\nset mytics 1\n";
  out << fmt::format("set xrange [{:g}:{:g}]\nset yrange [{:g}:{:g}]\n", figure.x.reversed ? x.high : x.low, figure.x.reversed ? x.low : x.high, figure.y.reversed ? y.high : y.low,
                     figure.y.reversed ? y.low : y.high);
  const std::string turned = figure.x.tick_angle == 0 ? "norotate" : fmt::format("rotate by {:g} right", figure.x.tick_angle);
  out << "set xlabel " << quoted(figure.x.label) << (figure.x.tick_angle == 0 ? " offset 0,0.3\n" : "\n") << "set mxtics 1\nset xtics " << turned << " " << tick_list(figure.x, x, true) << "\n";
  // The axis is shared: numbers and label stand at the first panel of a row.
  if (column == 0) out << "set ylabel " << quoted(figure.y.label) << "\nset format y '%g'\n";
  else out << "unset ylabel\nset format y ''\n";
  if (const auto ticks = tick_list(figure.y, y, column == 0); !ticks.empty()) out << "set ytics " << ticks << "\n";
}

/// Data blocks and the plot command's parts of one panel.
class PanelScript {
 public:
  PanelScript(std::ostringstream& out, const Figure& figure, size_t index, const FigureRange& y) : out_(out), figure_(figure), panel_(figure.panels[index]), index_(index), y_(y) {}
  void write() {
    write_control();
    if (panel_.heat) add_heat(*panel_.heat);
    add_boxes();
    add_front_stair();
    size_t marks = 0;
    for (const auto& [series, list] : panel_.lines) marks += list.size();
    for (const auto& [series, list] : panel_.lines) add_line(series, list, marks);
    if (!panel_.front.empty()) parts_.push_back(block(panel_.front) + " using 1:2 with points pt 6 ps 1.9 lw 1.4 lc rgb '#000000' notitle");
    if (!panel_.whiskers.empty()) add_whiskers(panel_.whiskers, "lc rgb '#222222'");
    for (size_t i = 0; i < panel_.texts.size(); ++i)
      out_ << fmt::format("set label {} {} at first {:g}, first {:g} left offset 0.6,0 font 'DejaVu Sans,9.5' tc rgb '#222222'\n", i + 1, quoted(panel_.texts[i].text), panel_.texts[i].x,
                          panel_.texts[i].y);
    if (parts_.empty()) parts_.push_back("NaN notitle");
    out_ << fmt::format("plot {}\n", fmt::join(parts_, ", \\\n  "));
    for (size_t i = 0; i < panel_.texts.size(); ++i) out_ << fmt::format("unset label {}\n", i + 1);
  }

 private:
  double visible(double low) const { return figure_.y.scale != Scale::kLinear ? std::max(low, y_.low) : low; }
  std::string fresh() { return fmt::format("$p{}b{}", index_, ++blocks_); }
  std::string block(const std::vector<Mark>& marks) {
    const std::string name = fresh();
    out_ << name << " << EOD\n";
    for (const auto& m : marks) out_ << fmt::format("{:g} {:g} {:g} {:g} {:g} {:g}\n", m.x, m.y, visible(m.y_low), m.y_high, m.x_low, m.x_high);
    out_ << "EOD\n";
    return name;
  }
  void write_control() {
    out_ << "unset object 1\nunset arrow 1\n";
    if (!panel_.control) return;
    const auto [value, half] = *panel_.control;
    out_ << fmt::format("set object 1 rect from graph 0, first {:g} to graph 1, first {:g} fc rgb '#000000' fs transparent solid 0.13 noborder behind\n", visible(value - half), value + half);
    out_ << fmt::format("set arrow 1 from graph 0, first {:g} to graph 1, first {:g} nohead lw 1.6 dt 2 lc rgb '#000000'\n", value, value);
  }
  void add_heat(const Heat& heat) {
    const std::string name = fresh();
    out_ << name << " << EOD\n";
    for (size_t r = 0; r < heat.rows; ++r)
      for (size_t c = 0; c < heat.columns; ++c) {
        const double value = heat.values[r * heat.columns + c], x = heat.x_first + heat.x_step * static_cast<double>(c), y = heat.y_first + heat.y_step * static_cast<double>(r);
        if (std::isfinite(value))
          out_ << fmt::format("{:g} {:g} {:g} {:g} {:g} {:g} {:.4g}\n", x, y, x - heat.x_step / 2, x + heat.x_step / 2, y - heat.y_step / 2, y + heat.y_step / 2, value);
      }
    out_ << "EOD\n";
    parts_.push_back(name + " using 1:2:3:4:5:6:7 with boxxyerror fs solid noborder lc palette notitle");
  }
  void add_boxes() {
    for (size_t series = 0; series < figure_.series.size(); ++series) {
      std::string rows;
      for (const auto& box : panel_.boxes)
        if (box.series == series)
          rows += fmt::format("{:g} {:g} {:g} {:g} {:g} {:g}\n", (box.x_low + box.x_high) / 2, (box.y_low + box.y_high) / 2, box.x_low, box.x_high, box.y_low, box.y_high);
      if (rows.empty()) continue;
      const std::string name = fresh();
      out_ << name << " << EOD\n" << rows << "EOD\n";
      parts_.push_back(fmt::format("{} using 1:2:3:4:5:6 with boxxyerror fs solid noborder lc rgb '{}' notitle", name, look(series).colour));
    }
  }
  void add_front_stair() {
    if (panel_.front.size() > 1) parts_.push_back(block(panel_.front) + fmt::format(" using 1:2 with {} lw 1 lc rgb '#888888' notitle", figure_.front_drops_first ? "fsteps" : "steps"));
  }
  void add_whiskers(const std::vector<Mark>& marks, const std::string& colour) {
    const std::string name = block(marks);
    if (std::any_of(marks.begin(), marks.end(), [](const Mark& m) { return m.y_high > m.y_low; })) parts_.push_back(fmt::format("{} using 1:2:3:4 with yerrorbars {} pt 7 ps 0 lw 1.1 notitle", name, colour));
    if (std::any_of(marks.begin(), marks.end(), [](const Mark& m) { return m.x_high > m.x_low; })) parts_.push_back(fmt::format("{} using 1:2:5:6 with xerrorbars {} pt 7 ps 0 lw 1.1 notitle", name, colour));
  }
  void add_line(size_t series, const std::vector<Mark>& list, size_t marks) {
    const std::string colour = fmt::format("lc rgb '{}'", look(series).colour), shape = fmt::format("pt {} ps {}", look(series).shape, marks > kMostBars ? 0.6 : 1.0);
    if (marks <= kMostBars) add_whiskers(list, colour);
    const std::string name = block(list);
    if (figure_.key == KeyShape::kLine) parts_.push_back(fmt::format("{} using 1:2 with linespoints {} {} lw 1.8 pi {} notitle", name, colour, shape, figure_.marks_every));
    else parts_.push_back(fmt::format("{} using 1:2 with points {} {} notitle", name, colour, shape));
  }

  std::ostringstream& out_;
  const Figure& figure_;
  const Panel& panel_;
  size_t index_, blocks_ = 0;
  const FigureRange& y_;
  std::vector<std::string> parts_;
};

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
    out << "set output " << quoted(figure.stem + (png ? ".png" : ".svg")) << "\nset samples 2\nset multiplot\n";
    Frame frame(out, at);
    write_frame(out, frame, figure, at);
    for (size_t p = 0; p < figure.panels.size(); ++p) {
      write_axes(out, figure, at, p, x, y);
      write_heat_bar(out, figure, at, p == 0);
      PanelScript(out, figure, p, y).write();
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
  for (const auto& drawing : drawings) finish(drawing);
}

}  // namespace canvaslab
