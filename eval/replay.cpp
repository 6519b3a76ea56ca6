#include "eval/replay.h"

#include <algorithm>

#include "core/error.h"
#include "eval/recorded_course.h"

namespace canvaslab {
namespace {

std::string setting(const RecordedTrace& trace, const char* key) {
  const Json& config = trace.config();
  if (!config.contains(key))
    throw input_error("{}: the recorded configuration lacks '{}', so the run cannot be decided again\nrecord it with generate --trace FILE --trace-logits", trace.path(), key);
  return config[key].is_string() ? config[key].get<std::string>() : json_text(config[key]);
}

/// What no recording can serve is refused with the reason.
void check_servable(const RecordedTrace& trace, const GenerationPlan& plan) {
  if (plan.sampler.facts.extra_canvas)
    throw usage_error("sampler '{}' asks for canvas forwards beside one a step, and the recording {} has no logits of them\nrun it on the model itself", plan.sampler.name, trace.path());
  if (plan.length.canonical != setting(trace, "canvas_length"))
    throw usage_error("the recording {} holds canvases of {} tokens, not of {}", trace.path(), setting(trace, "canvas_length"), plan.length.canonical);
  if (plan.rng == RngMode::kTorch && trace.num_rows() > 1 && !trace.joint())
    throw usage_error("--rng torch draws for all rows from one stream, but the {} rows of {} were recorded each on its own course; use --rng counter", trace.num_rows(), trace.path());
  if (plan.feedback.canonical != setting(trace, "self_conditioning"))
    throw usage_error("self-conditioning changes the logits, and {} holds those with it {}; record another run", trace.path(), setting(trace, "self_conditioning"));
}

GenerationPlan plan_on(const RecordedTrace& trace, const PlanRequest& request) {
  if (const auto facts = configure_sampler(parse_plugin(request.sampler)).facts; facts.causal_verify || facts.causal_checks)
    throw usage_error("sampler '{}' checks canvases in the causal mode, and the recording {} has no causal logits\nrun it on the model itself", request.sampler, trace.path());
  return resolve_plan(request, RecordedRows(trace));
}

/// Whether the recorded run's decisions follow from what was recorded.
bool is_replayable(const PlanRequest& recorded) {
  const auto facts = configure_sampler(parse_plugin(recorded.sampler)).facts;
  return !facts.extra_canvas && !facts.causal_verify && !facts.causal_checks;
}

/// Positions where two lists differ; beyond the shorter one all do.
template <typename T>
std::vector<int32_t> differing(std::span<const T> a, std::span<const T> b) {
  std::vector<int32_t> out;
  for (size_t p = 0; p < std::max(a.size(), b.size()); ++p)
    if (p >= a.size() || p >= b.size() || a[p] != b[p]) out.push_back(static_cast<int32_t>(p));
  return out;
}

StepReplay compare_step(const RecordedTrace& trace, size_t row, size_t entry, const Decided& now) {
  const auto& steps = trace.steps(row);
  const size_t L = steps.length(entry);
  const auto at = [&](const auto& column) { return std::span(column).subspan(entry * trace.length(), L); };
  StepReplay out;
  out.step_idx = steps.step_idx[entry];
  const auto accepted = at(steps.accepted);
  for (size_t p = 0; p < L; ++p) {
    out.num_accepted_recorded += accepted[p] != 0;
    out.num_accepted_replayed += now.accepted[p] != 0;
    if (accepted[p] && !now.accepted[p]) out.only_recorded.push_back(static_cast<int32_t>(p));
    if (!accepted[p] && now.accepted[p]) out.only_replayed.push_back(static_cast<int32_t>(p));
  }
  out.candidates = differing<int32_t>(at(steps.candidate), now.candidate);
  out.canvas_out = differing<int32_t>(at(steps.canvas_out), now.canvas_out);
  for (const int32_t p : out.canvas_out) {
    out.tokens_recorded.push_back(at(steps.canvas_out)[static_cast<size_t>(p)]);
    out.tokens_replayed.push_back(now.canvas_out[static_cast<size_t>(p)]);
  }
  return out;
}

/// Whether the sequence met its end token in a canvas before the one that begins at position `begin`.
bool ended_before(const RecordedTrace& trace, const std::vector<int32_t>& tokens, size_t begin) {
  const auto& ends = trace.facts().defaults.end_ids;
  return !tokens.empty() && std::find(ends.begin(), ends.end(), tokens.back()) != ends.end() && tokens.size() <= begin;
}

/// `self`: the recorded configuration decided again, which knows where rows of a joint batch had stopped, and why; or null.
RowReplay compare_row(const RecordedTrace& trace, size_t row, const CourseRun& now, const CourseRun* self, const ReplayOptions& options) {
  const auto& steps = trace.steps(row);
  RowReplay out;
  out.tokens_recorded = trace.tokens(row);
  out.tokens_replayed = now.result.token_ids;
  out.num_tokens_differ = differing<int32_t>(out.tokens_recorded, out.tokens_replayed).size();
  size_t begin = 0;
  for (int32_t canvas = 0; canvas < steps.num_canvases(); begin += steps.length(steps.entry.at({canvas, 0})), ++canvas) {
    const auto c = static_cast<size_t>(canvas);
    if (ended_before(trace, out.tokens_recorded, begin)) break;  // its batch mates went on
    CanvasReplay at;
    at.canvas_idx = canvas;
    at.recorded.num_steps = self && trace.joint() ? self->result.steps_per_canvas[c] : steps.num_steps(canvas);
    if (self) at.recorded.stop = self->result.canvas_stop[c];
    at.replayed = {now.result.steps_per_canvas[c], now.result.canvas_stop[c]};
    const int32_t shared = std::min(at.recorded.num_steps, at.replayed.num_steps);
    if (at.replayed.num_steps > at.recorded.num_steps) at.replayed = {at.recorded.num_steps, kCourseEnds};  // a frozen row's steps are no course
    for (int32_t step = 0; step < shared; ++step) {
      at.steps.push_back(compare_step(trace, row, steps.entry.at({canvas, step}), now.steps.at({canvas, step})));
      if (!out.parting && !at.steps.back().canvas_out.empty()) out.parting = {canvas, step, false};
      if (out.parting && options.first_divergence) break;
    }
    if (!out.parting && at.ends_differ()) out.parting = {canvas, shared - 1, true};
    out.canvases.push_back(std::move(at));
    if (out.parting && options.first_divergence) break;
  }
  return out;
}

size_t count_differences(const RowReplay& row) {
  size_t out = row.num_tokens_differ;
  for (const auto& canvas : row.canvases) {
    out += canvas.ends_differ();
    for (const auto& step : canvas.steps) out += step.only_recorded.size() + step.only_replayed.size() + step.candidates.size() + step.canvas_out.size();
  }
  return out;
}

/// The recorded configuration against the recording. A joint batch goes on until its last row stopped.
size_t count_self_differences(const RecordedTrace& trace, const std::vector<CourseRun>& self) {
  size_t out = 0;
  for (size_t row = 0; row < self.size(); ++row) out += count_differences(compare_row(trace, row, self[row], &self[row], {}));
  for (int32_t canvas = 0; trace.joint() && canvas < trace.steps(0).num_canvases(); ++canvas) {
    int32_t longest = 0;
    for (const auto& row : self) longest = std::max(longest, row.result.steps_per_canvas[static_cast<size_t>(canvas)]);
    out += longest != trace.steps(0).num_steps(canvas);
  }
  return out;
}

void add_notes(ReplayReport& out, const RecordedTrace& trace, const PlanRequest& recorded, const GenerationPlan& plan) {
  if (!out.self_differences)
    out.notes.push_back(fmt::format("the recorded sampler {} made canvas or causal forwards that are not in the recording, so it cannot be decided again itself; its canvases are compared "
                                    "as they were recorded", recorded.sampler));
  else if (*out.self_differences > 0)
    out.notes.push_back(fmt::format("THE RECORDING DOES NOT REPEAT: the recorded configuration, decided again, differs from what was recorded in {} places (another version of the program, "
                                    "or pins and repeats that the file does not name); differences below are not the new settings' alone", *out.self_differences));
  const bool told = configure_sampler(parse_plugin(recorded.sampler)).facts.needs_level && recorded.noise_level != "withheld";
  if (trace.facts().uses_level && told != plan.tells_level)
    out.notes.push_back(fmt::format("the recorded denoiser {} the noise level, and '{}' {}; it decides on the recorded logits all the same", told ? "was told" : "was not told",
                                    plan.sampler.name, plan.tells_level ? "would tell it" : "would not tell it"));
}

}  // namespace

RecordedRequest recorded_request(const RecordedTrace& trace) {
  std::vector<std::pair<std::string, std::string>> settings;
  for (const auto& [key, value] : trace.config().items()) settings.emplace_back(key, value.is_string() ? value.get<std::string>() : json_text(value));
  RecordedRequest out;
  try {
    out.request = request_of_settings(settings, trace.path());
  } catch (const UserError& error) {
    throw input_error("{}\nthe run cannot be decided again; record it with generate --trace FILE --trace-logits", error.what());
  }
  const std::string seed = setting(trace, "seed");
  if (seed.empty() || seed.find_first_not_of("0123456789") != std::string::npos) throw input_error("{}: setting 'seed' is '{}'; expected a whole number", trace.path(), seed);
  out.seed = std::stoull(seed);
  return out;
}

ReplayReport replay(const RecordedTrace& trace, const PlanRequest& asked, uint64_t seed, const ReplayOptions& options) {
  const auto [recorded, recorded_seed] = recorded_request(trace);
  const GenerationPlan plan = plan_on(trace, asked);
  check_servable(trace, plan);
  ReplayReport out;
  out.settings = plan.settings();
  out.settings.emplace_back("seed", std::to_string(seed));
  for (const auto& [key, value] : out.settings) {
    const std::string before = trace.config().contains(key) ? setting(trace, key.c_str()) : "";
    const bool is_list = key == "end_ids";  // stored as a list, and not the user's to change
    if (before != value && !is_list) out.differing.push_back({key, before, value});
  }
  std::vector<CourseRun> self;
  if (is_replayable(recorded)) {
    self = run_on_course(trace, plan_on(trace, recorded), recorded_seed);
    out.self_differences = count_self_differences(trace, self);
  }
  add_notes(out, trace, recorded, plan);
  const auto now = run_on_course(trace, plan, seed);
  for (size_t row = 0; row < trace.num_rows(); ++row) out.rows.push_back(compare_row(trace, row, now[row], self.empty() ? nullptr : &self[row], options));
  return out;
}

}  // namespace canvaslab
