#include "experiments/inspect_h5.h"

#include <algorithm>

#include "core/error.h"
#include "core/h5.h"
#include "eval/sweep_plan.h"

namespace canvaslab {
namespace {

/// The length of a dataset's first axis. Errors: input when it has none.
size_t num_rows(const H5Reader& file, const std::string& name) {
  const auto shape = file.shape(name);
  if (shape.empty()) throw input_error("{}: dataset '{}' is a single value; expected a list", file.path(), name);
  return shape[0];
}

OrderedJson attributes(const H5Reader& file) {
  OrderedJson out = OrderedJson::object();
  for (const auto& name : file.attribute_names("/")) {
    switch (file.attribute_class("/", name)) {
      case H5T_INTEGER: out[name] = file.integer_attribute("/", name); break;
      case H5T_FLOAT: out[name] = file.real_attribute("/", name); break;
      case H5T_STRING: {
        const std::string text = file.text_attribute("/", name);
        const OrderedJson parsed = parse_ordered_json(text);
        out[name] = parsed.is_object() ? parsed : OrderedJson(text);
        break;
      }
      default: out[name] = "(an array or a variable-length string)";
    }
  }
  return out;
}

/// One object per configuration: its settings, then every aggregate. Errors: input for more of them than a sweep can have; a small file can claim millions.
OrderedJson summarise_run(const H5Reader& file) {
  OrderedJson rows = OrderedJson::array();
  if (!file.has("aggregates/num_samples")) return rows;
  const size_t count = num_rows(file, "aggregates/num_samples");
  if (count > size_t{kMostConfigs}) throw input_error("{}: dataset 'aggregates/num_samples' has {} rows, one per configuration; a run has {} at most", file.path(), count, kMostConfigs);
  for (size_t c = 0; c < count; ++c) rows.push_back(OrderedJson::object());
  const auto fill = [&](const std::string& name, const auto& values) {
    for (size_t c = 0; c < std::min(count, values.size()); ++c) rows[c][name] = values[c];
  };
  for (const char* name : {"sampler", "stop", "temperature"})
    if (file.has(fmt::format("config/{}", name))) fill(name, file.read_strings(fmt::format("config/{}", name)));
  for (const char* name : {"num_steps", "canvas_length"})
    if (file.has(fmt::format("config/{}", name))) fill(name, file.read<int32_t>(fmt::format("config/{}", name)));
  for (const auto& name : file.names("aggregates")) {
    const std::string path = "aggregates/" + name;
    if (!file.is_group(path) && file.shape(path) == std::vector<hsize_t>{count} && file.is_number(path)) {
      if (name.starts_with("num_")) fill(name, file.read<int64_t>(path));
      else fill(name, file.read<double>(path));
    }
  }
  return rows;
}

/// Steps of every canvas, per row of the batch where rows were recorded apart.
OrderedJson summarise_trace(const H5Reader& file) {
  constexpr int32_t kMaxCanvases = 1 << 20;
  OrderedJson rows = OrderedJson::array();
  std::vector<std::string> groups;
  if (file.has("steps")) groups.push_back("");
  else
    for (const auto& row : file.names("rows")) groups.push_back("rows/" + row + "/");
  for (const auto& group : groups) {
    OrderedJson row;
    num_rows(file, group + "tokens");
    row["num_tokens"] = file.shape(group + "tokens").back();
    std::vector<int64_t> steps;
    if (file.has(group + "steps/canvas_idx")) {
      for (int32_t canvas : file.read<int32_t>(group + "steps/canvas_idx")) {
        if (canvas < 0 || canvas > kMaxCanvases) throw input_error("{}: dataset '{}steps/canvas_idx' holds {}, which is no canvas index", file.path(), group, canvas);
        if (static_cast<size_t>(canvas) >= steps.size()) steps.resize(static_cast<size_t>(canvas) + 1, 0);
        ++steps[static_cast<size_t>(canvas)];
      }
    }
    row["steps_per_canvas"] = steps;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

OrderedJson inspect_h5(const std::string& path) {
  const H5Reader file(path);
  const bool run = file.has("samples") && file.has("config"), trace = !run && (file.has("steps") || file.has("rows")) && (file.has("tokens") || file.has("rows"));
  OrderedJson out;
  out["kind"] = run ? "run" : trace ? "trace" : "other HDF5 file";
  out["path"] = path;
  out["attributes"] = attributes(file);
  if (run && file.has("run/plan") && num_rows(file, "run/plan") > 0) out["plan"] = file.read_strings("run/plan").front();
  OrderedJson datasets = OrderedJson::object();
  for (const auto& name : file.datasets()) datasets[name] = file.shape(name);
  out["datasets"] = datasets;
  if (run) out["configurations"] = summarise_run(file);
  if (trace) out["rows"] = summarise_trace(file);
  return out;
}

}  // namespace canvaslab
