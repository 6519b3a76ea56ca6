#include "eval/figure_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace canvaslab {
namespace {

std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines(1);
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.back().empty() && lines.back().size() + word.size() + 1 > width) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

double longest_tick(const FigureAxis& axis) {
  size_t out = 0;
  for (const auto& [at, text] : axis.ticks) out = std::max(out, text.size());
  return text_width(out, 11);
}

/// A value on a logarithmic axis only where it can stand there; an interval's end that falls far below is cut.
void add_interval(FigureRange& range, Scale scale, double value, double low, double high) {
  if (scale == Scale::kLinear || value > 0) range.add(value);
  range.add(high);
  if (scale == Scale::kLinear || low > 0.3 * value) range.add(low);
}

}  // namespace

double text_width(size_t characters, double points) { return 0.66 * points * static_cast<double>(characters); }

FigureLayout::FigureLayout(const Figure& figure) {
  const size_t panels = std::max<size_t>(1, figure.panels.size());
  columns = figure.columns ? std::min(figure.columns, panels) : panels == 4 ? 2 : std::min<size_t>(3, panels);
  rows = (panels + columns - 1) / columns;
  panel_width = figure.panel_width > 0 ? figure.panel_width : columns == 1 ? 620 : columns == 2 ? 410 : 330;
  panel_height = figure.panel_height > 0 ? figure.panel_height : columns == 1 ? 380 : 340;
  left = figure.left;
  shared_x_label = text_width(figure.x.label.size(), 11) > panel_width;
  width = left + kRight + static_cast<double>(columns) * panel_width + static_cast<double>(columns - 1) * kColumnGap;
  size_t longest = std::max(figure.control_label.size(), figure.front_label.size());
  for (const auto& name : figure.series) longest = std::max(longest, name.size());
  const double entry = 52 + text_width(longest, 11.5);
  key_entries = figure.series.size() + !figure.control_label.empty() + !figure.front_label.empty();
  key_columns = std::clamp<size_t>(static_cast<size_t>((width - 24) / entry), 1, std::max<size_t>(1, key_entries));
  key_rows = (key_entries + key_columns - 1) / key_columns;
  key_step = std::min((width - 24) / static_cast<double>(key_columns), std::max(entry, (width - 24) / 3));
  caption = wrapped(figure.caption, static_cast<size_t>((width - 28) / 6.9));
  const double ticks = figure.x.tick_angle == 0 ? 0 : longest_tick(figure.x) * std::sin(figure.x.tick_angle * M_PI / 180);
  const double axis = (figure.x.label.empty() ? 0.6 : 1) * kAxis + ticks, bar = figure.heat_label.empty() ? 0 : 76;
  row_gap = axis + 36;
  bottom = axis + bar + kKeyLine * static_cast<double>(key_rows) + 12 + kCaptionLine * static_cast<double>(caption.size()) + 10;
  key_top = bottom - axis - 6;
  height = kTop + static_cast<double>(rows) * panel_height + static_cast<double>(rows - 1) * row_gap + bottom;
}

std::string FigureLayout::at(double x, double y) const { return fmt::format("screen {:.5f}, screen {:.5f}", x / width, y / height); }

void FigureRange::add(double value) {
  if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
}

void FigureRange::pad(Scale scale, double factor) {
  if (!(low <= high)) low = 1, high = 2;
  if (scale != Scale::kLinear) {
    low /= factor, high *= factor;
    return;
  }
  const double span = std::max(high - std::min(0.0, low), 1e-9);
  low = low < 0 ? low - 0.04 * span : std::min(0.0, low);
  high += 0.05 * span;
}

std::pair<FigureRange, FigureRange> figure_ranges(const Figure& figure) {
  FigureRange x{INFINITY, -INFINITY}, y{INFINITY, -INFINITY};
  for (const auto& panel : figure.panels) {
    for (const auto& [series, marks] : panel.lines)
      for (const auto& mark : marks) {
        add_interval(x, figure.x.scale, mark.x, mark.x_low, mark.x_high);
        add_interval(y, figure.y.scale, mark.y, mark.y_low, mark.y_high);
      }
    for (const auto& box : panel.boxes) x.add(box.x_low), x.add(box.x_high), y.add(box.y_low), y.add(box.y_high);
    for (const auto& mark : panel.whiskers) x.add(mark.x_low), x.add(mark.x_high), y.add(mark.y_low), y.add(mark.y_high);
    if (panel.control) {
      y.add(panel.control->first + panel.control->second);
      if (figure.y.scale == Scale::kLinear || panel.control->first > panel.control->second) y.add(panel.control->first - panel.control->second);
    }
  }
  x.pad(figure.x.scale, 1.15);
  y.pad(figure.y.scale, 1.25);
  if (figure.x.range) x = {figure.x.range->first, figure.x.range->second};
  if (figure.y.range) y = {figure.y.range->first, figure.y.range->second};
  return {x, y};
}

}  // namespace canvaslab
