#include "experiments/generate_replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/json.h"
#include "eval/replay.h"

namespace canvaslab {
namespace {

OrderedJson text_or_null(const std::string& text) { return text.empty() ? OrderedJson() : OrderedJson(text); }
OrderedJson end_json(const CanvasEnd& end) { return {{"steps", end.num_steps}, {"stop", text_or_null(end.stop)}}; }

OrderedJson parting_json(const std::optional<Parting>& parting) {
  if (!parting) return {};
  return {{"canvas_idx", parting->canvas_idx}, {"step_idx", parting->step_idx}, {"by", parting->by_stop ? "stop" : "canvas"}};
}

OrderedJson step_json(const StepReplay& step) {
  return {{"step_idx", step.step_idx},
          {"num_accepted", {{"recorded", step.num_accepted_recorded}, {"replayed", step.num_accepted_replayed}}},
          {"accepted_only_recorded", step.only_recorded}, {"accepted_only_replayed", step.only_replayed},
          {"candidates_differ", step.candidates}, {"canvas_out_differs", step.canvas_out},
          {"canvas_out_recorded", step.tokens_recorded}, {"canvas_out_replayed", step.tokens_replayed}};
}

OrderedJson row_json(const RowReplay& row) {
  OrderedJson out = {{"first_divergence", parting_json(row.parting)}, {"canvases", OrderedJson::array()},
                     {"token_ids_recorded", row.tokens_recorded}, {"token_ids_replayed", row.tokens_replayed}, {"num_tokens_differ", row.num_tokens_differ}};
  for (const auto& canvas : row.canvases) {
    OrderedJson at = {{"canvas_idx", canvas.canvas_idx}, {"recorded", end_json(canvas.recorded)}, {"replayed", end_json(canvas.replayed)}, {"steps", OrderedJson::array()}};
    for (const auto& step : canvas.steps) at["steps"].push_back(step_json(step));
    out["canvases"].push_back(std::move(at));
  }
  return out;
}

void print_json(const RecordedTrace& trace, const ReplayReport& report, bool first_divergence) {
  OrderedJson out = {{"trace", trace.path()}, {"recorded", OrderedJson(trace.config())}, {"replayed", OrderedJson::object()}, {"differing_settings", OrderedJson::object()},
                     {"notes", report.notes}, {"self_differences", report.self_differences ? OrderedJson(*report.self_differences) : OrderedJson()},
                     {"until", first_divergence ? "first_divergence" : "end_of_recording"}, {"rows", OrderedJson::array()}};
  for (const auto& [key, value] : report.settings) out["replayed"][key] = value;
  for (const auto& setting : report.differing) out["differing_settings"][setting.key] = {{"recorded", text_or_null(setting.recorded)}, {"replayed", setting.replayed}};
  for (const auto& row : report.rows) out["rows"].push_back(row_json(row));
  fmt::print("{}\n", json_text(out));
}

/// "3 7 12 (and 9 more)".
std::string few(const std::vector<int32_t>& numbers) {
  constexpr size_t kShown = 8;
  const auto shown = std::vector<int32_t>(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(std::min(kShown, numbers.size())));
  return fmt::format("{}{}", fmt::join(shown, " "), numbers.size() > kShown ? fmt::format(" (and {} more)", numbers.size() - kShown) : "");
}

std::string end_text(const CanvasEnd& end) {
  if (end.stop == kCourseEnds) return fmt::format("all {} steps and would go on", end.num_steps);
  return fmt::format("{} step{}{}", end.num_steps, end.num_steps == 1 ? "" : "s", end.stop.empty() ? "" : " (" + end.stop + ")");
}

void print_canvas(const CanvasReplay& canvas) {
  fmt::print("\n  canvas {}: recorded {}; replayed {}\n", canvas.canvas_idx, end_text(canvas.recorded), end_text(canvas.replayed));
  fmt::print("  {:>5} | {:>8} {:>4} {:>9} {:>8} | {:>10} {:>6}  positions\n", "", "accepted", "", "", "", "other", "other");
  fmt::print("  {:>5} | {:>8} {:>4} {:>9} {:>8} | {:>10} {:>6}  of the canvas\n", "step", "recorded", "now", "only rec.", "only now", "candidates", "canvas");
  for (const auto& step : canvas.steps)
    fmt::print("  {:5} | {:8} {:4} {:9} {:8} | {:10} {:6}  {}\n", step.step_idx, step.num_accepted_recorded, step.num_accepted_replayed, step.only_recorded.size(), step.only_replayed.size(),
               step.candidates.size(), step.canvas_out.size(), few(step.canvas_out));
}

void print_parting(const RowReplay& row) {
  if (!row.parting) return fmt::print("  they never part: every step leaves the same canvas\n");
  const auto& at = *row.parting;
  if (at.by_stop) return fmt::print("  they part after canvas {}, step {}: one stops, the other goes on\n", at.canvas_idx, at.step_idx);
  const auto& step = row.canvases[static_cast<size_t>(at.canvas_idx)].steps[static_cast<size_t>(at.step_idx)];
  fmt::print("  they part at canvas {}, step {}: positions {}; tokens recorded {}, now {}\n", at.canvas_idx, at.step_idx, few(step.canvas_out), few(step.tokens_recorded), few(step.tokens_replayed));
}

void print_text(const RecordedTrace& trace, const ReplayReport& report, bool first_divergence) {
  fmt::print("recording  {}: {} row{}, canvases of {}, vocabulary {}\n", trace.path(), trace.num_rows(), trace.num_rows() == 1 ? "" : "s, ", trace.length(), trace.facts().vocabulary);
  if (report.differing.empty()) fmt::print("settings   as recorded\n");
  for (const auto& setting : report.differing) fmt::print("{:<18} {} -> {}\n", setting.key, setting.recorded.empty() ? "(none)" : setting.recorded, setting.replayed);
  if (report.self_differences == 0u) fmt::print("check      the recorded configuration decides every step as recorded\n");
  for (const auto& note : report.notes) fmt::print("note: {}\n", note);
  for (size_t r = 0; r < report.rows.size(); ++r) {
    const auto& row = report.rows[r];
    fmt::print("\nrow {}\n", r);
    print_parting(row);
    size_t steps = 0, differing = 0;
    for (const auto& canvas : row.canvases)
      for (const auto& step : canvas.steps) ++steps, differing += step.differs();
    fmt::print("  {} of {} steps are decided differently on the recorded canvases\n", differing, steps);
    if (!first_divergence) fmt::print("  emitted at the ends of canvases: {} tokens recorded, {} now, {} differ\n", row.tokens_recorded.size(), row.tokens_replayed.size(), row.num_tokens_differ);
    for (const auto& canvas : row.canvases) print_canvas(canvas);
  }
}

}  // namespace

void run_replay(const ReplayArguments& arguments, const std::function<void(PlanRequest& request, uint64_t& seed)>& change) {
  const RecordedTrace trace(arguments.trace);
  auto [request, seed] = recorded_request(trace);
  change(request, seed);
  const ReplayReport report = replay(trace, request, seed, {.first_divergence = arguments.first_divergence});
  if (arguments.json) print_json(trace, report, arguments.first_divergence);
  else print_text(trace, report, arguments.first_divergence);
}

}  // namespace canvaslab
