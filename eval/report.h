#pragma once
// One self-contained HTML page of a run: figures inline, a sortable table, the plan and the command.
#include <string>
#include <vector>

#include "eval/figure.h"
#include "eval/plot_data.h"

namespace canvaslab {

/// Writes the page; the figures' SVG files must exist. Nothing in it points outside the file.
/// Errors: input when it cannot be written.
void write_report(const std::string& path, const PlotRun& run, const std::vector<Figure>& figures);

}  // namespace canvaslab
