#include "eval/plot_samples.h"

#include <cmath>

namespace canvaslab {

PlotSamples read_plot_samples(const H5Reader& file) {
  PlotSamples out;
  const auto number = [&](const char* name) { return file.read<double>(std::string("samples/") + name); };  // HDF5 converts
  const auto length = file.read<double>("config/canvas_length");
  out.num_configs = length.size();
  out.config = file.read<uint32_t>("samples/config_idx");
  out.item = file.read<uint32_t>("samples/item_idx");
  out.failed = file.read<uint8_t>("samples/failed");
  out.num_tokens = number("num_tokens"), out.num_prompt_tokens = number("num_prompt_tokens");
  out.denoise = number("forwards_denoise"), out.verify = number("forwards_verify"), out.unconditional = number("forwards_unconditional");
  out.append = number("forwards_append"), out.prefill = number("forwards_prefill");
  out.tokens_per_forward = number("tokens_per_denoiser_forward"), out.tokens_per_forward_report = number("tokens_per_forward_report");
  out.score = number("score");
  out.seconds = number("seconds_denoise");
  const auto append_seconds = number("seconds_append");
  for (size_t i = 0; i < out.seconds.size(); ++i) out.seconds[i] += append_seconds[i];
  for (const uint32_t c : out.config) out.canvas_length.push_back(length[c]);
  return out;
}

PlotHistory read_plot_history(const H5Reader& file) {
  PlotHistory out;
  out.canvas_sample = file.read<uint64_t>("canvases/sample_idx");
  out.canvas_idx = file.read<int32_t>("canvases/canvas_idx");
  out.canvas_steps = file.read<uint32_t>("canvases/num_steps");
  out.canvas_stop = file.read<uint8_t>("canvases/stop_reason");
  out.stop_names = file.list_attribute("canvases/stop_reason", "names");
  out.step_canvas = file.read<uint64_t>("steps/canvas_row");
  out.step_idx = file.read<int32_t>("steps/step_idx");
  out.step_accepted = file.read<int32_t>("steps/num_accepted");
  return out;
}

std::vector<ItemValues> item_values(const PlotSamples& samples, const std::function<double(size_t)>& get) {
  std::vector<ItemValues> out(samples.num_configs);
  double sum = 0, count = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (const double value = samples.failed[i] ? NAN : get(i); !std::isnan(value)) sum += value, count += 1;
    const bool last = i + 1 == samples.size() || samples.config[i + 1] != samples.config[i] || samples.item[i + 1] != samples.item[i];
    if (!last) continue;
    if (count > 0) {
      out[samples.config[i]].items.push_back(samples.item[i]);
      out[samples.config[i]].values.push_back(sum / count);
    }
    sum = count = 0;
  }
  return out;
}

}  // namespace canvaslab
