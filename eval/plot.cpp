#include "eval/plot.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "core/error.h"
#include "eval/figure.h"
#include "eval/plot_data.h"
#include "eval/report.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// What every figure of a run shares: stem, caption, series, one panel a canvas length.
Figure blank_figure(const PlotRun& run, const std::string& prefix, const std::string& name, const std::string& title) {
  Figure out;
  out.stem = prefix + name;
  out.title = title;
  out.caption = plot_caption(run);
  out.series = run.series;
  return out;
}

size_t series_index(const PlotRun& run, const std::string& name) {
  return static_cast<size_t>(std::find(run.series.begin(), run.series.end(), name) - run.series.begin());
}

/// Marks of every configuration by canvas length and series; `mark` gives nothing for one that is not to be drawn.
template <typename MakeMarks>
void fill_panels(Figure& figure, const PlotRun& run, MakeMarks make_marks) {
  std::map<int32_t, std::map<size_t, std::vector<Mark>>> panels;
  for (const auto& point : run.points) {
    if (point.control) continue;
    auto& marks = panels[point.canvas_length][series_index(run, point.series)];
    for (const Mark& mark : make_marks(point))
      if (std::isfinite(mark.x) && std::isfinite(mark.y)) marks.push_back(mark);
  }
  for (auto& [length, lines] : panels) {
    Panel panel{.title = fmt::format("canvas length {}", length), .lines = {}, .control = {}};
    for (auto& [series, marks] : lines) {
      std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
      if (!marks.empty()) panel.lines.emplace_back(series, std::move(marks));
    }
    figure.panels.push_back(std::move(panel));
  }
}

/// Line and band of exact samples, in figures whose y axis is the quality.
void add_controls(Figure& figure, const PlotRun& run) {
  std::map<std::string, const PlotPoint*> controls;
  for (const auto& point : run.points)
    if (point.control) controls[fmt::format("canvas length {}", point.canvas_length)] = &point;
  if (controls.empty()) return;
  figure.control_label = "exact samples, same number (95% band)";
  for (auto& panel : figure.panels)
    if (const auto found = controls.find(panel.title); found != controls.end())
      panel.control = {found->second->quality, kZ95 * found->second->quality_error};
}

Figure quality_figure(const PlotRun& run, const std::string& prefix, bool against_speed) {
  Figure out = against_speed ? blank_figure(run, prefix, "quality_vs_tokens_per_forward", "Quality against tokens per forward")
                             : blank_figure(run, prefix, "quality_vs_steps", "Quality against the step limit");
  out.x_label = against_speed ? "tokens per denoiser forward (tokens)" : "step limit (denoising steps per canvas)";
  out.y_label = run.quality_label;
  out.log_x = true;
  out.log_y = run.divergence;
  out.connect = !run.grouped;
  fill_panels(out, run, [&](const PlotPoint& p) {
    return std::vector<Mark>{{.x = against_speed ? p.speed : p.num_steps, .y = p.quality, .x_error = against_speed ? kZ95 * p.speed_error : 0, .y_error = kZ95 * p.quality_error}};
  });
  add_controls(out, run);
  return out;
}

/// The configuration with the largest step limit stands for its series: how it spends its steps.
Figure accepted_figure(const PlotRun& run, const std::string& prefix) {
  Figure out = blank_figure(run, prefix, "accepted_per_step", "Tokens accepted at each step (each series at its largest step limit)");
  out.x_label = "denoising step (counted from 0)";
  out.y_label = "accepted tokens per canvas (mean)";
  out.log_y = true;  // samplers that take one token and samplers that take all share the figure
  std::map<std::pair<int32_t, std::string>, const PlotPoint*> longest;
  size_t most_steps = 0;
  for (const auto& point : run.points) {
    if (point.control) continue;
    const PlotPoint*& best = longest[{point.canvas_length, point.series}];
    if (!best || point.num_steps > best->num_steps) best = &point;
    most_steps = std::max(most_steps, point.accepted.size());
  }
  out.marks_every = std::max<size_t>(1, most_steps / 8);
  fill_panels(out, run, [&](const PlotPoint& p) {
    std::vector<Mark> marks;
    if (longest.at({p.canvas_length, p.series}) != &p) return marks;
    for (size_t k = 0; k < p.accepted.size(); ++k)
      if (p.accepted[k] > 0) marks.push_back({.x = static_cast<double>(k), .y = p.accepted[k]});
    return marks;
  });
  return out;
}

}  // namespace

std::vector<std::string> plot_runs(const std::vector<std::string>& runs, const std::string& out_dir) {
  std::vector<std::string> written;
  for (const auto& path : runs) {
    const PlotRun run = read_plot_run(path);
    const auto run_dir = std::filesystem::absolute(run.path).parent_path();
    const std::string folder = !out_dir.empty() ? out_dir : (run_dir / "plots").string();
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", folder, error.message());
    const std::string prefix = folder + "/" + (runs.size() > 1 && !out_dir.empty() ? run_dir.filename().string() + "-" : "");
    const std::vector<Figure> figures = {quality_figure(run, prefix, true), quality_figure(run, prefix, false), accepted_figure(run, prefix)};
    for (const auto& figure : figures) {
      draw_figure(figure);
      written.push_back(figure.stem + ".png");
      written.push_back(figure.stem + ".svg");
    }
    written.push_back(prefix + "report.html");
    write_report(written.back(), run, figures);
  }
  return written;
}

}  // namespace canvaslab
