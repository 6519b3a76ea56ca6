// Curves over configurations: quality against speed or cost, quality against steps, accepted tokens by step.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "eval/plot_figures.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

Figure blank_figure(const PlotRun& run, const std::string& stem, const std::string& title) {
  Figure out;
  out.stem = stem;
  out.title = title;
  out.caption = plot_caption(run);
  out.series = run.series;
  return out;
}

std::string panel_title(int32_t canvas_length) { return fmt::format("canvas length {}", canvas_length); }

/// Marks of every configuration by canvas length and series; `mark` gives nothing for one that is not to be drawn.
template <typename MakeMarks>
void fill_panels(Figure& figure, const PlotRun& run, MakeMarks make_marks) {
  std::map<int32_t, std::map<size_t, std::vector<Mark>>> panels;
  std::vector<size_t> all(run.points.size());
  std::iota(all.begin(), all.end(), size_t{0});
  for (const int32_t length : run.canvas_lengths(all))
    for (const auto& point : run.points) {
      if (point.control || !point.stands_at(length)) continue;
      const auto series = static_cast<size_t>(std::find(run.series.begin(), run.series.end(), point.series) - run.series.begin());
      auto& marks = panels[length][series];
      for (const Mark& mark : make_marks(point))
        if (std::isfinite(mark.x) && std::isfinite(mark.y) && (mark.x > 0 || figure.x.scale == Scale::kLinear)) marks.push_back(mark);
    }
  for (auto& [length, lines] : panels) {
    Panel panel;
    panel.title = panel_title(length);
    for (auto& [series, marks] : lines) {
      std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
      if (!marks.empty()) panel.lines.emplace_back(series, std::move(marks));
    }
    figure.panels.push_back(std::move(panel));
  }
}

/// Line and band of exact samples, in figures whose y axis is the divergence from their law.
void add_controls(Figure& figure, const PlotRun& run) {
  if (!run.divergence) return;
  std::map<std::string, const PlotPoint*> controls;
  for (const auto& point : run.points)
    if (point.control) controls[panel_title(point.canvas_length)] = &point;
  if (controls.empty()) return;
  figure.control_label = "exact samples, same number (95% band)";
  for (auto& panel : figure.panels)
    if (const auto found = controls.find(panel.title); found != controls.end()) panel.control = {found->second->quality, kZ95 * found->second->quality_error};
}

void set_quality_axis(Figure& figure, const PlotRun& run) {
  figure.y.label = run.quality_label;
  const bool positive = std::all_of(run.points.begin(), run.points.end(), [](const PlotPoint& p) { return !(p.quality <= 0); });
  if (run.divergence && positive) figure.y.scale = Scale::kLog10;
  if (run.grouped) figure.key = KeyShape::kPoint;
}

/// A logarithmic axis, unless something stands at 0.
Scale x_scale(const PlotRun& run) {
  for (const auto& point : run.points)
    if (point.x <= 0) return Scale::kLinear;
  return run.x.name.starts_with("tokens_per_forward") ? Scale::kLog2 : Scale::kLog10;
}

Mark quality_mark(const PlotPoint& p, double x, double x_half) { return {.x = x, .y = p.quality, .x_low = x - x_half, .x_high = x + x_half, .y_low = p.quality_low, .y_high = p.quality_high}; }

}  // namespace

Figure pareto_figure(const PlotRun& run) {
  Figure out = blank_figure(run, "quality_vs_" + run.x.name, "Quality against " + run.x.quantity);
  out.x.label = run.x.label;
  out.x.scale = x_scale(run);
  set_quality_axis(out, run);
  fill_panels(out, run, [](const PlotPoint& p) { return std::vector<Mark>{quality_mark(p, p.x, kZ95 * p.x_error)}; });
  out.front_label = run.lengths_comparable ? "not dominated, canvas lengths taken together" : "not dominated";
  out.front_drops_first = run.x.more_is_better;
  for (auto& panel : out.panels) {
    for (const auto& point : run.points)
      if (point.non_dominated && (panel.title == panel_title(point.canvas_length) || (point.by_token && run.lengths_comparable))) panel.front.push_back(Mark::at(point.x, point.quality));
    std::sort(panel.front.begin(), panel.front.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
  }
  add_controls(out, run);
  return out;
}

Figure steps_figure(const PlotRun& run) {
  Figure out = blank_figure(run, "quality_vs_steps", "Quality against the step limit");
  out.x.label = "step limit (denoising steps per canvas)";
  out.x.scale = Scale::kLog2;
  set_quality_axis(out, run);
  fill_panels(out, run, [](const PlotPoint& p) { return p.by_token ? std::vector<Mark>{} : std::vector<Mark>{quality_mark(p, p.num_steps, 0)}; });
  add_controls(out, run);
  return out;
}

Figure accepted_figure(const PlotRun& run) {
  Figure out = blank_figure(run, "accepted_per_step", "Tokens accepted at each step (each series at its largest step limit)");
  out.x.label = "denoising step (counted from 0)";
  out.y.label = "accepted tokens per canvas (mean)";
  out.y.scale = Scale::kLog10;  // samplers that take one token and samplers that take all share the figure
  const auto longest = longest_configs(run);
  size_t most_steps = 0;
  for (const size_t c : longest) most_steps = std::max(most_steps, run.points[c].accepted.size());
  out.marks_every = std::max<size_t>(1, most_steps / 8);
  fill_panels(out, run, [&](const PlotPoint& p) {
    std::vector<Mark> marks;
    if (!std::binary_search(longest.begin(), longest.end(), static_cast<size_t>(&p - run.points.data()))) return marks;
    for (size_t k = 0; k < p.accepted.size(); ++k)
      if (p.accepted[k] > 0) marks.push_back(Mark::at(static_cast<double>(k), p.accepted[k]));
    return marks;
  });
  return out;
}

}  // namespace canvaslab
