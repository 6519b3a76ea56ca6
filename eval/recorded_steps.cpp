#include "eval/recorded_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/json.h"

namespace canvaslab {
namespace {

/// Positions read in one go: memory stays bounded however much was recorded.
constexpr uint64_t kBlock = uint64_t{1} << 22;

/// Steps [first, last) of one trace group, as the trace file names them. Row `batch_row` of `batch` joint rows.
std::vector<RecordedCanvas> read_trace_canvases(const H5Reader& file, const std::string& group, size_t batch_row, size_t batch) {
  const std::string steps = group + "steps/";
  const auto canvas_idx = file.read<int32_t>(steps + "canvas_idx");
  const auto temperature = file.read<float>(steps + "temperature");
  std::vector<RecordedCanvas> out;
  const auto slice = [&]<typename T>(const char* name, size_t s, std::vector<T>& into) {
    const auto row = file.read_row<T>(steps + name, s);
    const auto length = static_cast<ptrdiff_t>(row.size() / batch), begin = static_cast<ptrdiff_t>(batch_row) * length;
    into.assign(row.begin() + begin, row.begin() + begin + length);
  };
  for (size_t s = 0; s < canvas_idx.size(); ++s) {
    if (s == 0 || canvas_idx[s] != canvas_idx[s - 1]) slice("canvas_in", s, out.emplace_back().start);
    RecordedStep& step = out.back().steps.emplace_back();
    step.temperature = temperature.at(s);
    slice("candidate", s, step.candidate);
    slice("argmax", s, step.argmax);
    slice("canvas_out", s, step.canvas_out);
    slice("accepted", s, step.accepted);
    slice("entropy_nats", s, step.entropy_nats);
  }
  return out;
}

}  // namespace

RecordedSteps read_recorded_steps(const H5Reader& file, const PlotSamples& samples, const PlotHistory& history) {
  RecordedSteps out;
  if (!file.has("positions/step_row")) return out;
  out.step_row = file.read<uint64_t>("positions/step_row");
  out.begin = file.read<uint64_t>("positions/begin");
  if (out.begin.size() != out.step_row.size() + 1 || !std::is_sorted(out.begin.begin(), out.begin.end()) || !std::is_sorted(out.step_row.begin(), out.step_row.end()) ||
      (!out.step_row.empty() && out.step_row.back() >= history.step_canvas.size()))
    throw input_error("{}: /positions does not fit /steps (step_row and begin must rise, begin with one entry more)", file.path());
  for (const uint64_t row : out.step_row) {
    const uint64_t canvas = history.step_canvas.at(row), sample = history.canvas_sample.at(canvas);
    out.canvas.push_back(canvas);
    out.sample.push_back(sample);
    out.config.push_back(samples.config.at(sample));
    out.step_idx.push_back(history.step_idx.at(row));
  }
  return out;
}

StepMeans step_means(const H5Reader& file, const RecordedSteps& recorded, uint32_t config) {
  const auto [low, high] = std::equal_range(recorded.config.begin(), recorded.config.end(), config);  // rows are in configuration order
  const auto first = static_cast<size_t>(low - recorded.config.begin()), last = static_cast<size_t>(high - recorded.config.begin());
  StepMeans out;
  for (size_t r = first; r < last; ++r) {
    out.steps = std::max(out.steps, static_cast<size_t>(recorded.step_idx[r]) + 1);
    out.positions = std::max<size_t>(out.positions, recorded.begin[r + 1] - recorded.begin[r]);
    out.canvases += recorded.step_idx[r] == 0;
  }
  std::vector<double> count(out.steps, 0);
  out.entropy_nats.assign(out.steps * out.positions, 0);
  out.accepted.assign(out.steps * out.positions, 0);
  for (size_t r = first; r < last;) {
    size_t end = r + 1;
    while (end < last && recorded.begin[end + 1] - recorded.begin[r] <= kBlock) ++end;
    const uint64_t begin = recorded.begin[r], number = recorded.begin[end] - begin;
    const auto entropy = file.read_rows<float>("positions/entropy_nats", begin, number);
    const auto accepted = file.read_rows<uint8_t>("positions/accepted", begin, number);
    for (; r < end; ++r) {
      const auto step = static_cast<size_t>(recorded.step_idx[r]);
      count[step] += 1;
      for (uint64_t i = recorded.begin[r]; i < recorded.begin[r + 1]; ++i) {
        const size_t cell = step * out.positions + (i - recorded.begin[r]);
        out.entropy_nats[cell] += entropy[i - begin];
        out.accepted[cell] += accepted[i - begin];
      }
    }
  }
  for (size_t cell = 0; cell < out.accepted.size(); ++cell) {
    out.entropy_nats[cell] /= count[cell / out.positions];  // a step that no canvas reached: NaN
    out.accepted[cell] /= count[cell / out.positions];
  }
  return out;
}

Trajectory read_trajectory(const H5Reader& file, const RecordedSteps& recorded, size_t first, size_t last) {
  Trajectory out;
  const uint64_t begin = recorded.begin.at(first), number = recorded.begin.at(last) - begin;
  const auto whole = [&]<typename T>(const char* name, T) { return file.read_rows<T>(fmt::format("positions/{}", name), begin, number); };
  const auto in = whole("canvas_in", int32_t{}), candidate = whole("candidate", int32_t{}), argmax = whole("argmax", int32_t{}), canvas_out = whole("canvas_out", int32_t{});
  const auto accepted = whole("accepted", uint8_t{});
  const auto entropy = whole("entropy_nats", float{});
  const auto temperature = file.read_rows<float>("steps/temperature", recorded.step_row[first], recorded.step_row[last - 1] + 1 - recorded.step_row[first]);
  const auto stop_names = file.list_attribute("canvases/stop_reason", "names");
  for (size_t r = first; r < last; ++r) {
    const auto from = static_cast<ptrdiff_t>(recorded.begin[r] - begin), to = static_cast<ptrdiff_t>(recorded.begin[r + 1] - begin);
    const auto part = [&](const auto& flat) { return std::decay_t<decltype(flat)>(flat.begin() + from, flat.begin() + to); };
    if (r == first || recorded.canvas[r] != recorded.canvas[r - 1]) {
      const auto stop = file.read_row<uint8_t>("canvases/stop_reason", recorded.canvas[r]);
      RecordedCanvas& canvas = out.canvases.emplace_back();
      canvas.start = part(in);
      if (stop[0] < stop_names.size()) canvas.stop = stop_names[stop[0]];
    }
    out.canvases.back().steps.push_back({.temperature = temperature.at(recorded.step_row[r] - recorded.step_row[first]), .candidate = part(candidate), .argmax = part(argmax),
                                         .canvas_out = part(canvas_out), .accepted = part(accepted), .entropy_nats = part(entropy)});
  }
  return out;
}

std::vector<Trajectory> read_trace(const std::string& path) {
  const H5Reader file(path);
  const bool single = file.has("steps/canvas_in");
  if (!single && !file.has("rows")) throw input_error("{}: is no trace (there is no /steps/canvas_in); write one with canvaslab generate --trace FILE.h5", path);
  Trajectory common;
  const Json config = file.has_attribute("/", "config") ? parse_json(file.text_attribute("/", "config")) : Json::object();
  for (const auto& [key, value] : config.items()) common.settings += fmt::format("{}{}={}", common.settings.empty() ? "" : "; ", key, value.is_string() ? value.get<std::string>() : json_text(value));
  if (config.contains("sampler") && config.contains("num_steps")) common.label = fmt::format("{}, {} steps", config["sampler"].get<std::string>(), json_text(config["num_steps"]));
  else common.label = path;
  common.series = config.contains("sampler") ? config["sampler"].get<std::string>() : path;
  if (config.contains("seed")) common.seed = config["seed"].get<uint64_t>();
  std::vector<Trajectory> out;
  const auto add = [&](const std::string& group, size_t number, size_t row, size_t batch) {
    Trajectory trajectory = common;
    trajectory.item = fmt::format("prompt {}", number);
    trajectory.canvases = read_trace_canvases(file, group, row, batch);
    trajectory.tokens = batch == 1 ? file.read<int32_t>(group + "tokens") : file.read_row<int32_t>("tokens", row);
    out.push_back(std::move(trajectory));
  };
  if (single) {
    const auto shape = file.shape("steps/canvas_in");
    const size_t batch = shape.size() == 3 ? shape[1] : 1;
    for (size_t row = 0; row < batch; ++row) add("", row, row, batch);
    return out;
  }
  for (size_t row = 0; row < file.names("rows").size(); ++row) add(fmt::format("rows/{}/", row), row, 0, 1);
  return out;
}

}  // namespace canvaslab
