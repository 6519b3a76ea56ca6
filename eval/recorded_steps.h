#pragma once
// Recorded positions of denoising steps: from a run's /positions or from a trace file.
#include <cstdint>
#include <string>
#include <vector>

#include "core/h5.h"
#include "eval/plot_samples.h"

namespace canvaslab {

/// One denoising step of one canvas, every position.
struct RecordedStep {
  float temperature = 0;
  std::vector<int32_t> candidate, argmax, canvas_out;   // [L]
  std::vector<uint8_t> accepted;                        // [L]
  std::vector<float> entropy_nats;                      // [L]
};
struct RecordedCanvas {
  std::vector<int32_t> start;                           ///< what the first step saw [L]
  std::vector<RecordedStep> steps;
  std::string stop;
};
/// One sample from noise to text.
struct Trajectory {
  std::string label, series, settings, item;            ///< label: short name of the configuration; series: without steps and length
  uint32_t repeat = 0;
  uint64_t seed = 0;
  std::vector<int32_t> tokens;                          ///< what came out
  std::vector<RecordedCanvas> canvases;
};

/// Which rows of /steps have their positions on record, and where those begin.
struct RecordedSteps {
  std::vector<uint64_t> step_row, begin;                ///< [R], [R + 1]
  std::vector<uint32_t> config;                         ///< [R]
  std::vector<uint64_t> sample, canvas;                 ///< [R] rows of /samples, /canvases
  std::vector<int32_t> step_idx;                        ///< [R]
  bool empty() const { return step_row.empty(); }
};
/// Empty when the run recorded none.
RecordedSteps read_recorded_steps(const H5Reader& file, const PlotSamples& samples, const PlotHistory& history);

/// Means by step and position over a configuration's recorded canvases that were still running at that step.
struct StepMeans {
  size_t steps = 0, positions = 0, canvases = 0;
  std::vector<double> entropy_nats, accepted;           ///< [steps, positions]
};
StepMeans step_means(const H5Reader& file, const RecordedSteps& recorded, uint32_t config);

/// Whole trajectories of recorded samples [first, last) of `recorded`'s rows, which belong to one sample.
Trajectory read_trajectory(const H5Reader& file, const RecordedSteps& recorded, size_t first, size_t last);

/// The rows of a trace file, one trajectory each. Errors: input when the file is no trace.
std::vector<Trajectory> read_trace(const std::string& path);

}  // namespace canvaslab
