#include "eval/plot_samples.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr uint64_t kMostRuns = uint64_t{1} << 24;  ///< steps of a canvas, canvases of a sample, positions: more is damage

/// A damaged file is an error, not a crash: as many entries as the group has, none out of [0, limit).
template <typename T>
void check_column(const H5Reader& file, const char* name, const std::vector<T>& values, size_t size, uint64_t limit) {
  if (values.size() != size) throw input_error("{}: dataset '{}' has {} entries, expected {}", file.path(), name, values.size(), size);
  const auto bad = std::find_if(values.begin(), values.end(), [&](T value) { return static_cast<uint64_t>(value) >= limit; });  // below 0: far above any limit
  if (bad != values.end()) throw input_error("{}: dataset '{}' holds {} at {}, expected numbers from 0 to below {}", file.path(), name, *bad, bad - values.begin(), limit);
}

/// Where a policy decided lengths: what a step of the sample ran over on average.
void average_lengths(const H5Reader& file, PlotSamples& samples) {
  const auto sample = file.read<uint64_t>("canvases/sample_idx");
  const auto length = file.read<double>("canvases/length"), steps = file.read<double>("canvases/num_steps");
  check_column(file, "canvases/sample_idx", sample, length.size(), samples.size());
  check_column(file, "canvases/num_steps", steps, length.size(), kMostRuns);
  std::vector<double> positions(samples.size()), count(samples.size());
  for (size_t c = 0; c < sample.size(); ++c) positions[sample[c]] += length[c] * steps[c], count[sample[c]] += steps[c];
  for (size_t i = 0; i < samples.size(); ++i)
    if (count[i] > 0) samples.canvas_length[i] = positions[i] / count[i];
}

}  // namespace

PlotSamples read_plot_samples(const H5Reader& file) {
  PlotSamples out;
  const auto number = [&](const char* name) { return file.read<double>(std::string("samples/") + name); };  // HDF5 converts
  const auto length = file.read<double>("config/canvas_length");
  out.num_configs = length.size();
  out.config = file.read<uint32_t>("samples/config_idx");
  out.item = file.read<uint32_t>("samples/item_idx");
  out.failed = file.read<uint8_t>("samples/failed");
  check_column(file, "samples/config_idx", out.config, out.config.size(), out.num_configs);
  check_column(file, "samples/item_idx", out.item, out.config.size(), file.shape("items/item_id").at(0));
  check_column(file, "samples/failed", out.failed, out.config.size(), 2);
  out.num_tokens = number("num_tokens"), out.num_prompt_tokens = number("num_prompt_tokens");
  out.denoise = number("forwards_denoise"), out.verify = number("forwards_verify"), out.unconditional = number("forwards_unconditional");
  out.append = number("forwards_append"), out.prefill = number("forwards_prefill");
  out.tokens_per_forward = number("tokens_per_denoiser_forward"), out.tokens_per_forward_report = number("tokens_per_forward_report");
  out.score = number("score");
  out.seconds = number("seconds_denoise");
  const auto append_seconds = number("seconds_append");
  for (size_t i = 0; i < std::min(out.seconds.size(), append_seconds.size()); ++i) out.seconds[i] += append_seconds[i];
  for (const auto* column : {&out.num_tokens, &out.num_prompt_tokens, &out.denoise, &out.verify, &out.unconditional, &out.append, &out.prefill, &out.tokens_per_forward,
                             &out.tokens_per_forward_report, &out.score, &out.seconds})
    if (column->size() != out.size()) throw input_error("{}: the columns of /samples are not equally long", file.path());
  for (const uint32_t c : out.config) out.canvas_length.push_back(length[c]);
  if (file.has("canvases/length")) average_lengths(file, out);
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
  const size_t samples = file.shape("samples/config_idx").at(0), canvases = out.canvas_sample.size(), steps = out.step_canvas.size();
  check_column(file, "canvases/sample_idx", out.canvas_sample, canvases, samples);
  check_column(file, "canvases/canvas_idx", out.canvas_idx, canvases, kMostRuns);
  check_column(file, "canvases/num_steps", out.canvas_steps, canvases, kMostRuns);
  check_column(file, "canvases/stop_reason", out.canvas_stop, canvases, 256);
  check_column(file, "steps/canvas_row", out.step_canvas, steps, canvases);
  check_column(file, "steps/step_idx", out.step_idx, steps, kMostRuns);
  check_column(file, "steps/num_accepted", out.step_accepted, steps, kMostRuns);
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
