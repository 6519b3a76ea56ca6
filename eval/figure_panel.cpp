#include "eval/figure_panel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace canvaslab {
namespace {

/// Okabe and Ito's colours, told apart with every common colour blindness (yellow left out: it vanishes on paper; black is
/// the control's), each with a point shape of its own.
constexpr FigureLook kLooks[] = {{"#0072B2", 7}, {"#D55E00", 5}, {"#009E73", 9}, {"#CC79A7", 13}, {"#E69F00", 11}, {"#56B4E9", 4}, {"#555555", 15}, {"#8C510A", 8}};
constexpr size_t kMostBars = 80;  ///< more intervals than that hide the points

/// Data blocks and the plot command's parts of one panel.
class PanelScript {
 public:
  PanelScript(std::ostream& out, const Figure& figure, size_t index, const FigureRange& y) : out_(out), figure_(figure), panel_(figure.panels[index]), index_(index), y_(y) {}
  void write() {
    write_control();
    if (panel_.heat) add_heat(*panel_.heat);
    add_boxes();
    add_front_stair();
    size_t marks = 0;
    for (const auto& [series, list] : panel_.lines) marks += list.size();
    for (const auto& [series, list] : panel_.lines) add_line(series, list, marks);
    if (!panel_.front.empty()) parts_.push_back(block(panel_.front) + " using 1:2 with points pt 6 ps 1.9 lw 1.4 lc rgb '#000000' notitle");
    // gnuplot's error bars would cut a white disc out of the box below them.
    if (!panel_.whiskers.empty()) parts_.push_back(block(panel_.whiskers) + " using 1:3:(0):($4-$3) with vectors heads size graph 0.003,90 lw 1.1 lc rgb '#222222' notitle");
    for (size_t i = 0; i < panel_.texts.size(); ++i)
      out_ << fmt::format("set label {} {} at first {:g}, first {:g} left offset 0.6,0 font 'DejaVu Sans,9.5' tc rgb '#222222'\n", i + 1, gnuplot_text(panel_.texts[i].text), panel_.texts[i].x,
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
      parts_.push_back(fmt::format("{} using 1:2:3:4:5:6 with boxxyerror fs solid noborder lc rgb '{}' notitle", name, figure_look(series).colour));
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
    const std::string colour = fmt::format("lc rgb '{}'", figure_look(series).colour), shape = fmt::format("pt {} ps {}", figure_look(series).shape, marks > kMostBars ? 0.6 : 1.0);
    if (marks <= kMostBars) add_whiskers(list, colour);
    const std::string name = block(list);
    if (figure_.key == KeyShape::kLine) parts_.push_back(fmt::format("{} using 1:2 with linespoints {} {} lw 1.8 pi {} notitle", name, colour, shape, figure_.marks_every));
    else parts_.push_back(fmt::format("{} using 1:2 with points {} {} notitle", name, colour, shape));
  }

  std::ostream& out_;
  const Figure& figure_;
  const Panel& panel_;
  size_t index_, blocks_ = 0;
  const FigureRange& y_;
  std::vector<std::string> parts_;
};

}  // namespace

const FigureLook& figure_look(size_t series) { return kLooks[series % std::size(kLooks)]; }

std::string gnuplot_text(const std::string& text) {
  std::string out = "'";  // between double quotes gnuplot would run what stands in back quotes
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + "'";
}

void write_panel(std::ostream& out, const Figure& figure, size_t index, const FigureRange& y) { PanelScript(out, figure, index, y).write(); }

}  // namespace canvaslab
