#pragma once
// One self-contained HTML page of a run: figures inline, a sortable table, a viewer of trajectories, the plan and the command.
#include <optional>
#include <string>
#include <vector>

#include "eval/figure.h"
#include "eval/plot_data.h"
#include "eval/report_trajectories.h"

namespace canvaslab {

/// The text inside an element or attribute: & < > " ' as entities.
std::string html_escaped(const std::string& text);

/// Writes the page; the figures' SVG files must exist. Nothing in it points outside the file. `run`: null for a page of
/// traces alone. `text`: what a token reads, or none.
/// Errors: input when it cannot be written.
void write_report(const std::string& path, const PlotRun* run, const std::vector<Figure>& figures, const EmbeddedTrajectories& trajectories, const TokenText& text);

}  // namespace canvaslab
