#include "core/recorded_trace.h"

#include <algorithm>

#include "core/error.h"

namespace canvaslab {
namespace {

/// Row `row` of a dataset [S, B, L] as [S, L].
template <typename T>
std::vector<T> one_row(const std::vector<T>& all, size_t row, size_t num_rows, size_t length) {
  std::vector<T> out;
  for (size_t begin = row * length; begin < all.size(); begin += num_rows * length)
    out.insert(out.end(), all.begin() + static_cast<ptrdiff_t>(begin), all.begin() + static_cast<ptrdiff_t>(begin + length));
  return out;
}

}  // namespace

int32_t RecordedTrace::Steps::num_steps(int32_t canvas) const {
  return static_cast<int32_t>(std::count(canvas_idx.begin(), canvas_idx.end(), canvas));
}

int32_t RecordedTrace::Steps::num_tokens() const {
  int32_t out = 0;
  for (size_t i = 0; i < size(); ++i) out += step_idx[i] == 0 ? canvas_length[i] : 0;
  return out;
}

RecordedTrace::RecordedTrace(const std::string& path) : file_(path), grouped_(file_.has("rows")) {
  check_kind();
  read_rows();
  read_config();
  read_lengths();
  check_ids();
}

std::string RecordedTrace::group(size_t row) const { return grouped_ ? fmt::format("rows/{}/", row) : ""; }

void RecordedTrace::check_kind() const {
  const std::string steps = group(0) + "steps/";
  if (!file_.has(steps + "canvas_in")) {
    if (file_.has(group(0) + "tokens")) throw input_error("{}: holds no denoising steps ('{}canvas_in'): its sampler wrote without any, so there is nothing to decide again", path(), steps);
    throw input_error("{}: is no trace: there is no '{}canvas_in'; expected a file of generate --trace", path(), steps);
  }
  if (const int64_t schema = file_.has_attribute("/", "schema_version") ? file_.integer_attribute("/", "schema_version") : -1; schema != kTraceSchema)
    throw input_error("{}: is a trace of schema {}; this program reads schema {}\nrecord it again with generate --trace {} --trace-logits", path(),
                      schema < 0 ? std::string("unknown") : std::to_string(schema), kTraceSchema, path());
  if (!file_.has(steps + "logits"))
    throw input_error("{}: the trace holds no logits ('{}logits'); record it again with --trace-logits", path(), steps);
}

void RecordedTrace::read_rows() {
  const auto dims = file_.shape(group(0) + "steps/logits");
  joint_ = dims.size() == 4;
  if (dims.size() != 3 && !joint_)
    throw input_error("{}: '{}steps/logits' has {} axes; expected [S, L, V] or [S, B, L, V]", path(), group(0), dims.size());
  length_ = dims[dims.size() - 2];
  facts_.vocabulary = static_cast<int32_t>(dims.back());
  const size_t num_rows = grouped_ ? file_.names("rows").size() : joint_ ? dims[1] : 1;
  for (size_t row = 0; row < num_rows; ++row) rows_.push_back(read_steps(row));
}

RecordedTrace::Steps RecordedTrace::read_steps(size_t row) const {
  const std::string steps = group(row) + "steps/";
  const auto dims = file_.shape(steps + "logits");
  const size_t num_rows = joint_ ? dims[1] : 1;
  const auto damaged = [&] { return input_error("{}: the datasets of '{}' disagree about the number of steps or positions; the trace is damaged", path(), steps); };
  if (dims[dims.size() - 2] != length_ || dims.back() != static_cast<hsize_t>(facts_.vocabulary)) throw damaged();
  const auto column = [&]<typename T>(const char* name) {
    auto all = file_.read<T>(steps + name);
    if (all.size() != dims[0] * num_rows * length_) throw damaged();
    return joint_ ? one_row(all, row, num_rows, length_) : all;
  };
  Steps out;
  out.canvas_idx = file_.read<int32_t>(steps + "canvas_idx");
  out.step_idx = file_.read<int32_t>(steps + "step_idx");
  if (out.canvas_idx.size() != dims[0] || out.step_idx.size() != dims[0]) throw damaged();
  out.canvas_in = column.template operator()<int32_t>("canvas_in");
  out.candidate = column.template operator()<int32_t>("candidate");
  out.argmax = column.template operator()<int32_t>("argmax");
  out.canvas_out = column.template operator()<int32_t>("canvas_out");
  out.accepted = column.template operator()<uint8_t>("accepted");
  out.canvas_length.assign(out.size(), static_cast<int32_t>(length_));
  if (file_.has(steps + "canvas_length")) out.canvas_length = file_.read<int32_t>(steps + "canvas_length");
  if (out.canvas_length.size() != out.size()) throw damaged();
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t length = out.canvas_length[i];
    if (length < 1 || static_cast<size_t>(length) > length_ || (i > 0 && out.canvas_idx[i] == out.canvas_idx[i - 1] && length != out.canvas_length[i - 1])) throw damaged();
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const bool follows = i == 0 ? out.canvas_idx[i] == 0 && out.step_idx[i] == 0
                                : out.step_idx[i] == 0 ? out.canvas_idx[i] == out.canvas_idx[i - 1] + 1
                                                       : out.canvas_idx[i] == out.canvas_idx[i - 1] && out.step_idx[i] == out.step_idx[i - 1] + 1;
    if (!follows) throw input_error("{}: '{}step_idx' does not count up from 0 in each canvas (entry {}); the trace is damaged", path(), steps, i);
    out.entry[{out.canvas_idx[i], out.step_idx[i]}] = i;
  }
  return out;
}

void RecordedTrace::read_config() {
  const auto object = [&](const char* name) {
    Json out = parse_json(file_.text_attribute("/", name));
    if (!out.is_object()) throw input_error("{}: attribute '{}' is no JSON object; the trace is damaged", path(), name);
    return out;
  };
  try {
    config_ = object("config");
    facts_.defaults.pad_id = config_.value("pad_id", -1);
    facts_.defaults.end_ids = config_.value("end_ids", std::vector<int32_t>{});
    if (config_.contains("temperature")) facts_.defaults.temperature = config_["temperature"].get<std::string>();
    const Json pins = config_.value("pins", Json::object());
    for (const auto& [position, token] : pins.items()) pins_[parse_integer(position, path() + ": setting 'pins'")] = token.get<int32_t>();
    if (!file_.has_attribute("/", "corruption")) return;
    const Json corruption = object("corruption");
    facts_.absorbing = corruption.value("absorbing", false);
    facts_.mask_id = corruption.value("mask_id", -1);
    facts_.banned_ids = corruption.value("banned_ids", std::vector<int32_t>{});
    facts_.uses_level = corruption.value("uses_level", false);
  } catch (const Json::exception& error) {
    throw input_error("{}: the recorded configuration holds a value of another kind than expected ({}); the trace is damaged", path(), error.what());
  }
}

void RecordedTrace::read_lengths() {
  facts_.defaults.canvas_length = static_cast<int32_t>(length_);
  int32_t most_steps = 0, tokens = 0;
  for (const Steps& row : rows_) {
    for (const int32_t step : row.step_idx) most_steps = std::max(most_steps, step + 1);
    tokens = std::max(tokens, row.num_tokens());
  }
  facts_.defaults.num_steps = most_steps;
  facts_.defaults.max_new_tokens = tokens;
}

void RecordedTrace::check_ids() const {
  for (size_t row = 0; row < rows_.size(); ++row)
    for (const auto& [name, ids] : {std::pair("canvas_in", &rows_[row].canvas_in), std::pair("candidate", &rows_[row].candidate),
                                    std::pair("argmax", &rows_[row].argmax), std::pair("canvas_out", &rows_[row].canvas_out)})
      for (size_t i = 0; i < ids->size(); ++i)
        if (i % length_ >= rows_[row].length(i / length_)) continue;
        else if ((*ids)[i] < 0 || (*ids)[i] >= facts_.vocabulary)
          throw input_error("{}: '{}steps/{}' holds token {} (row {}, step {}, position {}), but its logits are over a vocabulary of {}; the trace is damaged or put "
                            "together from two models", path(), group(row), name, (*ids)[i], row, i / length_, i % length_, facts_.vocabulary);
}

std::vector<float> RecordedTrace::logits(size_t row, size_t step) const {
  const std::scoped_lock lock(mutex_);
  std::vector<float> all = file_.read_row<float>(group(row) + "steps/logits", step);
  if (!joint_) {
    all.resize(rows_[row].length(step) * static_cast<size_t>(facts_.vocabulary));
    return all;
  }
  const size_t size = length_ * static_cast<size_t>(facts_.vocabulary);
  const auto begin = all.begin() + static_cast<ptrdiff_t>(row * size);
  return {begin, begin + static_cast<ptrdiff_t>(size)};
}

std::vector<int32_t> RecordedTrace::tokens(size_t row) const {
  const std::scoped_lock lock(mutex_);
  if (!file_.has(group(row) + "tokens")) throw input_error("{}: there is no '{}tokens'; the trace is damaged", path(), group(row));
  std::vector<int32_t> out = joint_ ? file_.read_row<int32_t>("tokens", row) : file_.read<int32_t>(group(row) + "tokens");
  const auto& ends = facts_.defaults.end_ids;
  if (joint_)  // filled up with the pad id to the longest row
    while (!out.empty() && out.back() == facts_.defaults.pad_id && std::find(ends.begin(), ends.end(), out.back()) == ends.end()) out.pop_back();
  return out;
}

}  // namespace canvaslab
