// The engine's canvases: prompts in, where each begins and how long it is, what it emits, what is appended.
#include <algorithm>
#include <numeric>

#include "samplers/engine_run.h"

namespace canvaslab {

void EngineRun::prefill() {
  size_t longest = 0;
  for (const auto& input : inputs_) longest = std::max(longest, input.prompt.ids.size());
  for (size_t r = 0; r < rows_.size(); ++r) {
    check_input(inputs_[r]);
    Prompt prompt = inputs_[r].prompt;
    if (torch()) prompt.left_padding = static_cast<int32_t>(longest - prompt.ids.size());
    rows_[r].result.forwards.prefill = prompt.ids.empty() ? 0 : 1;
    rows_[r].result.forwards.unconditional += facts_.unconditional_prefills;
    const Stopwatch watch;
    rows_[r].sequence = asks_causal_mode() ? prefill_for_causal_mode(r, std::move(prompt)) : denoiser_.prefill(prompt);
    rows_[r].result.seconds.prefill += watch.seconds();
  }
}

void EngineRun::check_input(const RowInput& input) const {
  const auto L = static_cast<size_t>(plan_.canvas_length);
  if (!input.init_canvas.empty() && plan_.length.adaptive())
    throw usage_error("a start canvas has a length of its own, but canvas length '{}' decides lengths on the way; give a number", plan_.length.canonical);
  if (!input.init_canvas.empty() && input.init_canvas.size() != L)
    throw usage_error("the start canvas has {} tokens; expected the canvas length, {}", input.init_canvas.size(), L);
  check_token_ids(input.init_canvas, facts_.vocabulary, "start canvas");
  if (!input.init_canvas.empty() && plan_.sampler.facts.needs_level)
    throw usage_error("sampler '{}' follows a noise level from pure noise on, so a start canvas would be taken for noise; leave --init-canvas out, or use a sampler that follows none", plan_.sampler.name);
  if (!input.init_canvas.empty() && num_decisions_ == 0) throw usage_error("sampler '{}' denoises no canvas, so there is none to start from; leave --init-canvas out", plan_.sampler.name);
  for (const auto& [position, token] : input.pins) {
    if (position < 0 || position >= static_cast<int64_t>(plan_.num_canvases()) * plan_.canvas_length)
      throw usage_error("pinned position {} is outside the generated text [0, {})", position, plan_.num_canvases() * plan_.canvas_length);
    check_token_ids(std::span(&token, 1), facts_.vocabulary, fmt::format("pin at {}", position));
  }
}

void EngineRun::start_canvases(int32_t canvas_idx) {
  for (size_t r = 0; r < rows_.size(); ++r) {
    EngineRow& row = rows_[r];
    const size_t L = next_length(r, canvas_idx);
    row.canvas.resize(L);
    // Drawn even when a start canvas is given: the reference's stream is consumed there too.
    const DrawKey draws = key(r, canvas_idx, 0);
    for (size_t p = 0; p < L; ++p) row.canvas[p] = noise(draws, Purpose::kCanvasInit, p);
    if (canvas_idx == 0 && !inputs_[r].init_canvas.empty()) row.canvas = inputs_[r].init_canvas;
    row.allowed.assign(L, 1);
    const size_t first = row.anchor ? 1 : 0;
    for (const auto& [position, token] : inputs_[r].pins) {
      const auto local = static_cast<size_t>(position) - row.result.canvas_ids.size();  // huge for positions behind us
      if (local >= L - first) continue;
      row.allowed[first + local] = 0;
      row.canvas[first + local] = token;
    }
    if (row.anchor) row.allowed[0] = 0, row.canvas[0] = *row.anchor;
    row.previous_logits.clear();
    row.prediction.clear();
    row.committed = false;
    row.best = row.canvas;
    row.history = {.argmax = {}, .num_taken = {}, .num_at_argmax = {}, .forwards = {}, .positions = row.history.positions};
    row.reason = num_decisions_ == 0 ? "one_token" : course_ && num_steps(canvas_idx) < num_decisions_ ? kCourseEnds : "step_limit";
    row.steps = 0;
    row.converged = false;
    plan_.sampler.sampler->begin(row.state, L, num_decisions_);
  }
}

size_t EngineRun::next_length(size_t r, int32_t canvas_idx) {
  EngineRow& row = rows_[r];
  const auto longest = static_cast<size_t>(plan_.canvas_length);
  if (course_) return course_->canvas(r, canvas_idx, 0).size();
  if (!plan_.length.adaptive() || row.finished) return longest;
  const size_t left = total_length_ - row.result.canvas_ids.size() + (row.anchor ? 1 : 0);
  LengthView view{.prompt = inputs_[r].prompt.ids, .text = row.result.canvas_ids, .canvases = row.canvases, .max_steps = num_decisions_};
  StepResult ahead;
  if (const auto asked = static_cast<size_t>(plan_.length.policy->preview()); asked > 0) {
    ahead = preview(r, canvas_idx, std::min(asked, left));
    view.preview = &ahead.statistics;
  }
  const int32_t length = plan_.length.policy->next(view);
  if (length < 1 || length > plan_.canvas_length)
    throw UserError(ExitCode::kSomeFailed, fmt::format("canvas length policy '{}' gave {} tokens, canvas {}; it promises at most {}", plan_.length.canonical, length, canvas_idx, plan_.canvas_length));
  return std::min(static_cast<size_t>(length), left);
}

/// A forward on fresh noise, before the canvas is there: the same noise that the canvas will begin with.
StepResult EngineRun::preview(size_t r, int32_t canvas_idx, size_t length) {
  EngineRow& row = rows_[r];
  const Stopwatch watch;
  const DrawKey draws = key(r, canvas_idx, 0);
  std::vector<int32_t> canvas(length);
  for (size_t p = 0; p < length; ++p) canvas[p] = noise(draws, Purpose::kCanvasInit, p);
  row.previous_logits.clear();
  row.state.revealed.clear();
  StepRequest request = step_request(row, canvas_idx, 0, static_cast<float>(plan_.temperature->value({.step_idx = 0, .num_steps = plan_.anneal_over})));
  request.canvas = canvas;
  request.hold_prediction = true;
  request.wanted = {Statistic::kMax};
  if (plan_.tells_level) request.noise_level = 0;
  StepResult out = forward(row, request);
  ++row.passes;
  count_forward(row, &ForwardCounts::denoise, length);
  row.result.seconds.denoise += watch.seconds();
  return out;
}

void EngineRun::finish_canvases(int32_t canvas_idx) {
  for (size_t r = 0; r < rows_.size(); ++r) {
    EngineRow& row = rows_[r];
    if (row.finished && !torch()) continue;
    const size_t L = row.canvas.size();
    std::vector<int32_t> emitted = plan_.emission == Emission::kArgmax ? row.best : row.canvas;
    for (size_t p = 0; p < L; ++p)
      if (!row.allowed[p]) emitted[p] = row.canvas[p];
    if (verifies()) emitted = num_decisions_ > 0 ? verify(r, canvas_idx, emitted) : write_next(r, canvas_idx, emitted);
    if (row.finished) {
      emitted.assign(L, plan_.pad_id);
    } else {
      const auto end = std::find_if(emitted.begin(), emitted.end(), [&](int32_t token) { return is_end(token); });
      const size_t valid = end == emitted.end() ? emitted.size() : static_cast<size_t>(end - emitted.begin()) + 1;
      const size_t before = row.result.valid_per_canvas.empty() ? row.result.canvas_ids.size() : 0;  // an anchor drawn without a prompt
      row.result.valid_per_canvas.push_back(static_cast<int32_t>(valid + before));
      row.result.steps_per_canvas.push_back(row.steps);
      row.result.canvas_stop.push_back(row.reason);
      row.canvases.push_back({.length = static_cast<int32_t>(L), .num_steps = row.steps, .stopped = row.converged, .mean_entropy_nats = row.mean_entropy});
      if (plan_.length.adaptive()) row.result.length_per_canvas.push_back(static_cast<int32_t>(L));
      if (end != emitted.end()) {
        std::fill(emitted.begin() + static_cast<ptrdiff_t>(valid), emitted.end(), plan_.pad_id);
        row.finished = !course_;
        row.result.stop_reason = "end_token";
      }
    }
    row.result.canvas_ids.insert(row.result.canvas_ids.end(), emitted.begin(), emitted.end());
    if (!course_ && counts_tokens() && row.result.canvas_ids.size() >= total_length_) row.finished = true;
    row.canvas = std::move(emitted);  // what append commits
    if (observer_) observer_->on_canvas(r, canvas_idx, row.canvas);
  }
}

void EngineRun::append() {
  for (auto& row : rows_) {
    if (row.finished && !torch()) continue;
    if (row.committed) continue;
    const Stopwatch watch;
    auto logits = denoiser_.append(*row.sequence, row.canvas, asks_causal_mode());
    if (asks_causal_mode()) row.next_logits.assign(logits.end() - facts_.vocabulary, logits.end());
    row.result.seconds.append += watch.seconds();
    if (!row.finished) count_forward(row, &ForwardCounts::append, row.canvas.size());
  }
}

RowResult EngineRun::summarise(EngineRow& row) const {
  RowResult& out = row.result;
  if (out.stop_reason.empty()) out.stop_reason = "length";
  out.token_ids = out.canvas_ids;
  const auto end = std::find_if(out.token_ids.begin(), out.token_ids.end(), [&](int32_t token) { return is_end(token); });
  if (end != out.token_ids.end()) out.token_ids.erase(end + 1, out.token_ids.end());
  while (!out.token_ids.empty() && out.token_ids.back() == plan_.pad_id && !is_end(out.token_ids.back())) out.token_ids.pop_back();
  const auto written = std::count_if(out.canvas_ids.begin(), out.canvas_ids.end(), [&](int32_t token) { return token != plan_.pad_id; });
  out.tokens_per_forward = static_cast<double>(written) / static_cast<double>(std::max<int64_t>(1, row.passes));
  const double valid = std::accumulate(out.valid_per_canvas.begin(), out.valid_per_canvas.end(), 0.0);
  out.tokens_per_forward_report = valid / static_cast<double>(std::max<int64_t>(1, out.forwards.denoise + out.forwards.verify + out.forwards.unconditional + out.forwards.append));
  return std::move(out);
}

}  // namespace canvaslab
