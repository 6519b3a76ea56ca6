#pragma once
// A results file as plots want it: one point a configuration, named series, the difference the run can resolve.
#include <cstdint>
#include <string>
#include <vector>

#include "eval/plot_axis.h"
#include "eval/plot_samples.h"

namespace canvaslab {

/// One configuration. Undefined numbers (forwards of a control row) are NaN.
struct PlotPoint {
  std::string series, settings;
  int32_t canvas_length = 0, num_steps = 0;
  bool control = false;
  bool by_token = false;                          ///< written by the causal mode alone, without canvases: it stands beside every canvas length
  bool stands_at(int32_t length) const { return by_token || canvas_length == length; }
  int64_t count = 0, failed = 0;
  double speed = 0, speed_error = 0;              ///< tokens per denoiser forward, mean over items
  double speed_report = 0;                        ///< with the append passes
  double x = 0, x_error = 0;                      ///< on the chosen axis: mean and its standard error
  double quality = 0, quality_error = 0, bias = 0;
  double quality_low = 0, quality_high = 0;       ///< 95%
  bool non_dominated = false;                     ///< no other configuration it may be compared with is better on x or quality and worse on neither
  double score = 0, score_error = 0, output_entropy = 0, steps_used = 0, limit_frac = 0;
  std::vector<double> left_out;                   ///< quality with one group of items left out each
  std::vector<double> accepted;                   ///< mean accepted positions by step, over canvases still running
};

struct PlotRun {
  std::string path, name, denoiser, dataset, seeds, plan, command_line, program;
  std::string quality_name, quality_label, score_label;
  std::string interval_label;                     ///< how the quality's intervals were made
  bool divergence = false;                        ///< the quality is a divergence from an exact law
  bool more_is_better = false;                    ///< of the quality
  bool lengths_comparable = false;                ///< qualities at different canvas lengths are on one scale: no finite-sample bias in them
  PlotAxis x;
  double entropy_rate = 0, pair_entropy = 0;      ///< of the source, nats
  double detectable = 0;                          ///< paired difference of quality found with power 80% at 5%
  std::vector<PlotPoint> points;
  /// Of these configurations, ascending; of those written token by token only when there are no others.
  std::vector<int32_t> canvas_lengths(const std::vector<size_t>& configs) const;
  std::vector<std::string> series;                ///< in order of first appearance, controls left out
  bool grouped = false;                           ///< many configurations: a series is a sampler, whatever its settings
};

/// Most series one figure can tell apart.
inline constexpr size_t kMostSeries = 8;

/// What the two axes of the quality plot are. quality: "auto" (a divergence where there is an exact law, the score where it
/// is a verdict of 0 or 1, else the agreement with the reference), or divergence, agreement, score, a metric's name.
struct PlotChoice {
  AxisChoice x;
  std::string quality = "auto";
};

/// Points and series of an opened results file. Errors: input when columns are missing or damaged; usage when the run has no
/// such quality or axis.
PlotRun read_plot_run(const H5Reader& file, const PlotSamples& samples, const PlotHistory& history, const PlotChoice& choice);

/// entropy_bound(entropy_bound=0.1) -> "entropy_bound 0.1"; constant(1) -> "1": names of values say nothing new here.
std::string short_plugin_name(const std::string& text);

/// The configuration that stands for each series at each canvas length: its largest step limit. Controls are left out.
std::vector<size_t> longest_configs(const PlotRun& run);

/// Configuration, samples, and what can be resolved, in one paragraph.
std::string plot_caption(const PlotRun& run);

}  // namespace canvaslab
