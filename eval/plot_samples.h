#pragma once
// What plots need of /samples, column by column: runs of millions of samples are read in bulk.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/h5.h"

namespace canvaslab {

/// One entry a sample in the file's order, (config, item, repeat). Numbers that are counts in the file are doubles here.
struct PlotSamples {
  size_t num_configs = 0;
  std::vector<uint32_t> config, item;
  std::vector<uint8_t> failed;
  std::vector<double> canvas_length;                ///< of the sample's configuration; where lengths vary, the mean over the sample's steps
  std::vector<double> num_tokens, num_prompt_tokens;
  std::vector<double> denoise, verify, unconditional, append, prefill;
  std::vector<double> tokens_per_forward, tokens_per_forward_report, seconds;
  std::vector<double> score;
  size_t size() const { return config.size(); }
};
PlotSamples read_plot_samples(const H5Reader& file);

/// /canvases and /steps, each row pointing at the level above.
struct PlotHistory {
  std::vector<uint64_t> canvas_sample, step_canvas;
  std::vector<uint32_t> canvas_steps;
  std::vector<uint8_t> canvas_stop;
  std::vector<std::string> stop_names;              ///< by canvas_stop's code
  std::vector<int32_t> canvas_idx, step_idx, step_accepted;
};
PlotHistory read_plot_history(const H5Reader& file);

/// One number per item of a configuration: the mean over its repeats, which are no independent samples.
struct ItemValues {
  std::vector<uint32_t> items;
  std::vector<double> values;
};
/// By configuration, of get(sample index); samples that failed or give NaN are left out.
std::vector<ItemValues> item_values(const PlotSamples& samples, const std::function<double(size_t)>& get);

}  // namespace canvaslab
