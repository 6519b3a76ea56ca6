#pragma once
// Plots of finished runs: PNG and SVG through gnuplot, and one self-contained HTML page.
#include <string>
#include <vector>

namespace canvaslab {

/// Draws every figure the results support into out_dir; returns the paths written.
/// Errors: input when a results file is missing or incomplete; usage when gnuplot is not installed.
std::vector<std::string> plot_runs(const std::vector<std::string>& runs, const std::string& out_dir);

}  // namespace canvaslab
