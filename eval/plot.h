#pragma once
// Plots of finished runs: PNG and SVG through gnuplot, and one self-contained HTML page.
#include <string>
#include <vector>

#include "eval/plot_data.h"

namespace canvaslab {

struct PlotRequest {
  std::vector<std::string> runs;                ///< run folders or results files
  std::string out_dir;                          ///< "": plots/ beside each run
  PlotChoice choice;
  std::vector<std::string> config_a, config_b;  ///< labels (find_config) of configurations to set side by side
  std::vector<std::string> traces;              ///< trace files for the report's viewer; a page of their own when there is no run
  std::string tokenizer;                        ///< tokenizer.json or its folder; "": that of the model, when there is one
};

struct PlotOutcome {
  std::vector<std::string> written;             ///< paths
  std::vector<std::string> notes;               ///< what could not be drawn, and what to do about it
};

/// Draws every figure the results support. Of two runs on the same data, or of configurations named, also where they disagree.
/// Errors: input when a results file is missing or incomplete; usage when gnuplot is not installed, or for an axis, quality
/// or configuration that the run does not have.
PlotOutcome plot_runs(const PlotRequest& request);

}  // namespace canvaslab
