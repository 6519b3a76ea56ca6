#pragma once
// A results file as plots want it: one point a configuration, named series, the difference the run can resolve.
#include <cstdint>
#include <string>
#include <vector>

namespace canvaslab {

/// One configuration. Undefined numbers (forwards of a control row) are NaN.
struct PlotPoint {
  std::string series, settings;
  int32_t canvas_length = 0, num_steps = 0;
  bool control = false;
  int64_t count = 0, failed = 0;
  double speed = 0, speed_error = 0;              ///< tokens per denoiser forward, mean over items
  double speed_report = 0;                        ///< with the append passes
  double quality = 0, quality_error = 0, bias = 0;
  double score = 0, score_error = 0, output_entropy = 0, steps_used = 0, limit_frac = 0;
  std::vector<double> left_out;                   ///< quality with one group of items left out each
  std::vector<double> accepted;                   ///< mean accepted positions by step, over canvases still running
};

struct PlotRun {
  std::string path, name, denoiser, dataset, seeds, plan, command_line, program;
  std::string quality_label, score_label;
  bool divergence = false;                        ///< the quality is a divergence (lower is better), else an agreement
  double entropy_rate = 0, pair_entropy = 0;      ///< of the source, nats
  double detectable = 0;                          ///< paired difference of quality found with power 80% at 5%
  std::vector<PlotPoint> points;
  std::vector<std::string> series;                ///< in order of first appearance, controls left out
  bool grouped = false;                           ///< many configurations: a series is a sampler, whatever its settings
};

/// Most series one figure can tell apart.
inline constexpr size_t kMostSeries = 8;

/// Reads run.h5 of a run folder, or a results file. Errors: input when it is missing, incomplete or no results file.
PlotRun read_plot_run(const std::string& run);

/// Configuration, samples, and what can be resolved, in one paragraph.
std::string plot_caption(const PlotRun& run);

}  // namespace canvaslab
