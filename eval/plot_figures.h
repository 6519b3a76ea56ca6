#pragma once
// The figures of a run: what stands in them; figure.h draws them.
#include <optional>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "eval/figure.h"
#include "eval/plot_data.h"
#include "eval/recorded_steps.h"

namespace canvaslab {

/// Quality against the chosen axis with intervals and the non-dominated set ringed; a panel a canvas length.
Figure pareto_figure(const PlotRun& run);
/// Quality against the step limit; a panel a canvas length.
Figure steps_figure(const PlotRun& run);
/// Accepted positions by step; each series at its largest step limit.
Figure accepted_figure(const PlotRun& run);

/// Mean score by a column of /items ("category", "data_set"), with Wilson's intervals where scores are verdicts of single
/// samples. Nothing when the items have none.
std::optional<Figure> parts_figure(const PlotRun& run, const H5Reader& file, const PlotSamples& samples, const std::string& column);
/// How many steps canvases took; a panel a series at its largest step limit, a colour a canvas length.
Figure step_histogram_figure(const PlotRun& run, const PlotSamples& samples, const PlotHistory& history);
/// Why canvases stopped: shares; a panel a canvas length.
Figure stop_reason_figure(const PlotRun& run, const PlotSamples& samples, const PlotHistory& history);

/// Means over the recorded canvases, step by position: entropy and share accepted. Positions and steps beyond what a picture
/// shows are averaged in bins.
struct ConfigMeans {
  size_t config = 0;
  StepMeans means;
};
Figure entropy_figure(const PlotRun& run, const std::vector<ConfigMeans>& recorded);
Figure acceptance_figure(const PlotRun& run, const std::vector<ConfigMeans>& recorded);

/// Items that flip between two configurations, pair by pair: only A right to the left, only B right to the right, with the
/// test's p-value; of scores that are no verdicts, the items at which A or B is better.
Figure discordance_figure(const RunComparison& comparison);

}  // namespace canvaslab
