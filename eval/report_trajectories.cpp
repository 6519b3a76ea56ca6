#include "eval/report_trajectories.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/json.h"

namespace canvaslab {
namespace {

/// Rows [first, last) of RecordedSteps that belong to one sample.
struct Recorded {
  size_t first = 0, last = 0;
  uint64_t sample = 0;
  uint32_t config = 0;
};
std::vector<Recorded> recorded_samples(const RecordedSteps& recorded) {
  std::vector<Recorded> out;
  for (size_t r = 0; r < recorded.step_row.size(); ++r) {
    if (out.empty() || out.back().sample != recorded.sample[r]) out.push_back({.first = r, .last = r, .sample = recorded.sample[r], .config = recorded.config[r]});
    out.back().last = r + 1;
  }
  return out;
}

std::string script_safe(std::string text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "\\u003c";
    else out += c;
  }
  return out;
}

template <typename T>
std::string list_json(const std::vector<T>& values) { return fmt::format("[{}]", fmt::join(values, ",")); }

std::string step_json(const RecordedStep& step) {
  std::string accepted, entropy;
  for (const uint8_t flag : step.accepted) accepted += flag ? '1' : '0';
  for (const float value : step.entropy_nats) entropy += fmt::format("{}{:.4g}", entropy.empty() ? "" : ",", value);
  return fmt::format(R"({{"t":{:.4g},"out":{},"arg":{},"cand":{},"acc":"{}","ent":[{}]}})", step.temperature, list_json(step.canvas_out), list_json(step.argmax), list_json(step.candidate),
                     accepted, entropy);
}

std::string trajectory_json(const Trajectory& trajectory) {
  std::string canvases;
  for (const auto& canvas : trajectory.canvases) {
    std::string steps;
    for (const auto& step : canvas.steps) steps += (steps.empty() ? "" : ",\n") + step_json(step);
    canvases += fmt::format(R"({}{{"stop":{},"start":{},"steps":[{}]}})", canvases.empty() ? "" : ",", json_text(Json(canvas.stop)), list_json(canvas.start), steps);
  }
  return fmt::format(R"({{"label":{},"series":{},"settings":{},"item":{},"repeat":{},"seed":"{}","tokens":{},"canvases":[{}]}})", json_text(Json(trajectory.label)),
                     json_text(Json(trajectory.series)), json_text(Json(trajectory.settings)), json_text(Json(trajectory.item)), trajectory.repeat, trajectory.seed,
                     list_json(trajectory.tokens), canvases);
}

void collect_ids(const Trajectory& trajectory, std::set<int32_t>& ids) {
  ids.insert(trajectory.tokens.begin(), trajectory.tokens.end());
  for (const auto& canvas : trajectory.canvases) {
    ids.insert(canvas.start.begin(), canvas.start.end());
    for (const auto& step : canvas.steps)
      for (const auto* row : {&step.canvas_out, &step.argmax, &step.candidate}) ids.insert(row->begin(), row->end());
  }
}

}  // namespace

EmbeddedTrajectories choose_trajectories(const PlotRun& run, const H5Reader& file, const RecordedSteps& recorded) {
  EmbeddedTrajectories out;
  const auto all = recorded_samples(recorded);
  if (all.empty()) return out;
  const auto item = file.read<uint32_t>("samples/item_idx"), repeat = file.read<uint32_t>("samples/repeat");
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Recorded>> groups;  // by item and repeat: those share their noise
  for (const auto& one : all) groups[{item.at(one.sample), repeat.at(one.sample)}].push_back(one);
  const auto size = [&](const Recorded& r) { return recorded.begin[r.last] - recorded.begin[r.first]; };
  std::vector<Recorded> chosen;
  uint64_t positions = 0;
  size_t items = 0;
  for (auto& [key, members] : groups) {
    uint64_t whole = 0;
    for (const auto& member : members) whole += size(member);
    if (items == kMostEmbeddedItems || (items > 0 && positions + whole > kMostEmbeddedPositions)) break;
    if (whole > kMostEmbeddedPositions) {
      std::stable_sort(members.begin(), members.end(), [&](const Recorded& a, const Recorded& b) { return run.points[a.config].num_steps > run.points[b.config].num_steps; });
      size_t kept = 0;
      for (uint64_t sum = size(members[0]); kept < members.size() && (kept == 0 || sum <= kMostEmbeddedPositions); ++kept)
        if (kept + 1 < members.size()) sum += size(members[kept + 1]);
      members.resize(kept);
      std::sort(members.begin(), members.end(), [](const Recorded& a, const Recorded& b) { return a.config < b.config; });
    }
    for (const auto& member : members) positions += size(member);
    chosen.insert(chosen.end(), members.begin(), members.end());
    ++items;
  }
  const auto ids = file.read_strings("items/item_id");
  const auto seed = file.read<uint64_t>("samples/seed"), ids_begin = file.read<uint64_t>("samples/ids_begin");
  const auto num_tokens = file.read<uint32_t>("samples/num_tokens");
  for (const auto& one : chosen) {
    Trajectory trajectory = read_trajectory(file, recorded, one.first, one.last);
    const PlotPoint& point = run.points[one.config];
    trajectory.series = point.series;
    trajectory.label = fmt::format("{}, L {}, {} steps", point.series, point.canvas_length, point.num_steps);
    trajectory.settings = point.settings;
    trajectory.item = ids.at(item[one.sample]);
    trajectory.repeat = repeat[one.sample], trajectory.seed = seed[one.sample];
    trajectory.tokens = file.read_rows<int32_t>("text/ids", ids_begin[one.sample], num_tokens[one.sample]);
    out.list.push_back(std::move(trajectory));
  }
  out.extent = fmt::format("{} of {} recorded samples ({} of {} recorded items) are in this page", chosen.size(), all.size(), items, groups.size());
  return out;
}

void add_traces(EmbeddedTrajectories& embedded, const std::vector<std::string>& traces) {
  std::vector<Trajectory> list;
  for (const auto& path : traces)
    for (auto& trajectory : read_trace(path)) list.push_back(std::move(trajectory));
  if (list.empty()) return;
  embedded.extent = fmt::format("{} rows of {} trace files{}{}", list.size(), traces.size(), embedded.extent.empty() ? " are in this page" : "; ", embedded.extent);
  list.insert(list.end(), std::make_move_iterator(embedded.list.begin()), std::make_move_iterator(embedded.list.end()));
  embedded.list = std::move(list);
}

std::string trajectories_json(const std::vector<Trajectory>& list, const TokenText& text) {
  float most = 1e-6f;
  std::set<int32_t> ids;
  std::string body;
  for (const auto& trajectory : list) {
    collect_ids(trajectory, ids);
    for (const auto& canvas : trajectory.canvases)
      for (const auto& step : canvas.steps)
        for (const float value : step.entropy_nats) most = std::max(most, value);
    body += (body.empty() ? "" : ",\n") + trajectory_json(trajectory);
  }
  std::string tokens = "null";
  if (text) {
    tokens.clear();
    for (const int32_t id : ids) tokens += fmt::format("{}\"{}\":{}", tokens.empty() ? "{" : ",", id, json_text(Json(text(id))));
    tokens += "}";
  }
  return script_safe(fmt::format(R"({{"most_entropy":{:.4g},"tokens":{},"list":[{}]}})", most, tokens, body));
}

}  // namespace canvaslab
