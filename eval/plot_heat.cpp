// Heat maps of recorded steps: how sure, and what was taken, step by position.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/plot_figures.h"

namespace canvaslab {
namespace {

constexpr size_t kMostColumns = 96, kMostRows = 64;  ///< cells of one panel: a picture shows no more, and SVG keeps each

/// Means over bins of `steps` by `positions` cells.
Heat binned(const StepMeans& means, const std::vector<double>& values, size_t steps, size_t positions) {
  Heat out;
  out.rows = (means.steps + steps - 1) / steps;
  out.columns = (means.positions + positions - 1) / positions;
  out.x_step = static_cast<double>(positions), out.y_step = static_cast<double>(steps);
  out.x_first = (out.x_step - 1) / 2, out.y_first = (out.y_step - 1) / 2;
  std::vector<double> sum(out.rows * out.columns, 0), count(out.rows * out.columns, 0);
  for (size_t s = 0; s < means.steps; ++s)
    for (size_t p = 0; p < means.positions; ++p) {
      const double value = values[s * means.positions + p];
      if (std::isnan(value)) continue;
      const size_t cell = s / steps * out.columns + p / positions;
      sum[cell] += value, count[cell] += 1;
    }
  for (size_t cell = 0; cell < sum.size(); ++cell) out.values.push_back(count[cell] > 0 ? sum[cell] / count[cell] : NAN);
  return out;
}

template <typename Values>
Figure heat_figure(const PlotRun& run, const std::vector<ConfigMeans>& recorded, const std::string& stem, const std::string& title, const std::string& label, Values values) {
  size_t steps = 1, positions = 1, least = SIZE_MAX, most = 0;
  for (const auto& [config, means] : recorded) {
    steps = std::max(steps, means.steps), positions = std::max(positions, means.positions);
    least = std::min(least, means.canvases), most = std::max(most, means.canvases);
  }
  const size_t step_bin = (steps + kMostRows - 1) / kMostRows, position_bin = (positions + kMostColumns - 1) / kMostColumns;
  Figure out;
  out.stem = stem;
  out.title = title;
  out.heat_label = label;
  out.key = KeyShape::kPoint;
  out.x.label = "position in the canvas";
  out.y.label = "denoising step (from 0)";
  out.x.range = {-0.5, static_cast<double>(positions) - 0.5};
  out.y.range = {-0.5, static_cast<double>(steps) - 0.5};
  out.y.reversed = true;
  out.panel_height = 230;
  out.caption = fmt::format("{}; {}. Each series at its largest step limit and canvas length. Means over {} recorded canvases{}, of those still running at a step; white: none was.",
                            run.denoiser, run.dataset, least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most),
                            step_bin * position_bin > 1 ? fmt::format(" and over bins of {} steps by {} positions", step_bin, position_bin) : "");
  for (const auto& entry : recorded) {
    Panel panel;
    panel.title = run.points[entry.config].series;
    panel.heat = binned(entry.means, values(entry.means), step_bin, position_bin);
    out.panels.push_back(std::move(panel));
  }
  return out;
}

}  // namespace

Figure entropy_figure(const PlotRun& run, const std::vector<ConfigMeans>& recorded) {
  Figure out = heat_figure(run, recorded, "entropy_by_step", "Entropy at each step and position", "entropy (nats, mean)", [](const StepMeans& m) -> const auto& { return m.entropy_nats; });
  double most = 0;
  for (const auto& panel : out.panels)
    for (const double value : panel.heat->values)
      if (!std::isnan(value)) most = std::max(most, value);
  out.heat_range = {0, std::max(most, 1e-3)};
  return out;
}

Figure acceptance_figure(const PlotRun& run, const std::vector<ConfigMeans>& recorded) {
  Figure out = heat_figure(run, recorded, "accepted_by_position", "Share of canvases that accepted a position at each step", "accepted (share of canvases)",
                           [](const StepMeans& m) -> const auto& { return m.accepted; });
  out.heat_range = {0, 1};
  return out;
}

}  // namespace canvaslab
