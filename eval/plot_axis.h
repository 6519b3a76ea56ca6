#pragma once
// The x axis of the quality plot: speed or cost of a configuration, by one of several definitions.
#include <string>
#include <vector>

#include "eval/plot_samples.h"
#include "eval/statistics.h"

namespace canvaslab {

/// What one forward of each kind costs, in denoiser forwards.
struct ForwardCosts {
  double denoise = 1, verify = 1, unconditional = 1, append = 1, prefill = 0;
};
/// "verify=0.3,append=0.5": kinds left out keep their value. Errors: usage, naming the kinds.
ForwardCosts parse_costs(const std::string& text);

struct PlotAxis {
  std::string name, quantity, label;  ///< quantity: in short; label: with what is counted and the unit
  bool more_is_better = false;
  std::vector<MeanError> values;   ///< by configuration: mean over items, standard error of that mean; count 0 = undefined
};

/// The names --x takes.
std::vector<std::string> plot_axis_names();

/// Which axis, and how: costs weigh cost_weighted_forwards only; per_token divides what a sample costs by its tokens.
struct AxisChoice {
  std::string name = "tokens_per_forward_report";
  ForwardCosts costs;
  bool per_token = false;
};
/// Errors: usage for an unknown name, or for a speed per token.
PlotAxis plot_axis(const AxisChoice& choice, const PlotSamples& samples);

}  // namespace canvaslab
