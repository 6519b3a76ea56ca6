// The engine's steps: forward, statistics, decision, stop rule, apply.
#include <algorithm>
#include <cmath>

#include "samplers/engine_run.h"

namespace canvaslab {
namespace {

/// Candidates as torch.multinomial draws them, row by row.
void draw_torch_candidates(std::span<const float> logits, int32_t vocabulary, float temperature, TorchGenerator& generator,
                           RowStatistics& statistics) {
  const size_t V = static_cast<size_t>(vocabulary), L = statistics.candidate.size();
  for (size_t p = 0; p < L; ++p) {
    const auto row = logits.subspan(p * V, V);
    const float largest = row[static_cast<size_t>(statistics.argmax[p])];
    const int32_t token = draw_torch_candidate(row, temperature, largest, generator);
    statistics.candidate[p] = token;
    statistics.candidate_logprob[p] = static_cast<float>(
        (static_cast<double>(row[static_cast<size_t>(token)]) - largest) / temperature + statistics.argmax_logprob[p]);
  }
}

}  // namespace

/// First every row's forward, in torch mode each followed by its candidates; then every row's decision: the order in which
/// the reference draws.
void EngineRun::step(int32_t canvas_idx, int32_t step_idx) {
  const StepSettings at = step_settings(canvas_idx, step_idx);
  std::vector<StepResult> results(rows_.size());
  std::vector<double> forward_seconds(rows_.size());
  for (size_t r = 0; r < rows_.size(); ++r)
    if (!idle(rows_[r])) results[r] = forward_of_step(r, at, forward_seconds[r]);
  for (size_t r = 0; r < rows_.size(); ++r)
    if (!idle(rows_[r])) decide(r, at, results[r], forward_seconds[r]);
}

void EngineRun::foresee() {
  if (!facts_.runs_ahead) return;
  const SamplerFacts& facts = plan_.sampler.facts;
  const auto stop = plan_.stop.rule->stable_stop();
  if (!plan_.feedback.feedback->plain()) return;  // the steps after one depend on what is fed back
  if (!stop || torch() || course_ || plan_.tells_level || facts.extra_canvas || facts.causal_checks || facts.coupled_draws || (observer_ && observer_->watches())) return;
  std::vector<float> temperatures, bounds;
  for (int32_t step = 0; step < num_decisions_; ++step) {
    const Progress ramp{.step_idx = step, .num_steps = plan_.anneal_over};
    const auto bound = plan_.sampler.sampler->joint_entropy_bound(plan_.sampler.knob_values(ramp));
    if (!bound) return;
    temperatures.push_back(static_cast<float>(plan_.temperature->value(ramp)));
    bounds.push_back(static_cast<float>(*bound));
  }
  outlook_temperatures_ = std::move(temperatures), outlook_bounds_ = std::move(bounds);
  outlook_stop_ = *stop;
}

EngineRun::StepSettings EngineRun::step_settings(int32_t canvas_idx, int32_t step_idx) const {
  const Progress ramp{.step_idx = step_idx, .num_steps = plan_.anneal_over};
  const bool keep_logits = wanted_.has(Statistic::kDivergence), show_logits = observer_ && observer_->wants_logits();
  const bool renews = plan_.feedback.feedback->shapes() && plan_.feedback.feedback->renews(step_idx);
  return {.canvas_idx = canvas_idx, .step_idx = step_idx, .temperature = static_cast<float>(plan_.temperature->value(ramp)),
          .knobs = plan_.sampler.knob_values(ramp), .level_now = noise_level(*plan_.sampler.sampler, step_idx, num_decisions_),
          .level_next = noise_level(*plan_.sampler.sampler, step_idx + 1, num_decisions_), .keep_logits = keep_logits, .show_logits = show_logits, .renews_prediction = renews,
          .want_logits = torch() || keep_logits || show_logits || renews || plan_.sampler.facts.causal_checks.has_value()};
}

StepResult EngineRun::forward_of_step(size_t r, const StepSettings& at, double& seconds) {
  EngineRow& row = rows_[r];
  if (course_ && !row.converged) {
    const auto recorded = course_->canvas(r, at.canvas_idx, at.step_idx);
    row.canvas.assign(recorded.begin(), recorded.end());
  }
  StepRequest request = step_request(row, at.canvas_idx, at.step_idx, at.temperature);
  if (row.converged || !plan_.feedback.feedback->renews(at.step_idx)) request.hold_prediction = true;
  request.want_logits = at.want_logits;
  if (!torch()) request.draw_key = plan_.sampler.facts.coupled_draws ? text_key(r) : key(r, at.canvas_idx, at.step_idx);
  if (plan_.tells_level) request.noise_level = at.level_now;
  const Outlook outlook{.temperatures = outlook_temperatures_, .bounds = outlook_bounds_, .allowed = row.allowed, .confidence = outlook_stop_.confidence, .stability = outlook_stop_.stability};
  if (at.step_idx == 0 && !outlook_bounds_.empty()) request.outlook = &outlook;
  const Stopwatch watch;
  StepResult out = forward(row, request);
  seconds = watch.seconds();
  row.result.seconds.denoise += seconds;
  if (!row.converged && !row.finished) {
    ++row.passes;
    count_forward(row, &ForwardCounts::denoise, row.canvas.size());
  }
  if (torch()) draw_torch_candidates(out.logits, facts_.vocabulary, at.temperature, generator_, out.statistics);
  const bool needed = at.show_logits || at.keep_logits || (plan_.sampler.facts.causal_checks && !torch());
  if (at.renews_prediction && !row.converged) renew_prediction(row, at, needed ? std::vector<float>(out.logits) : std::move(out.logits));
  if (!needed) out.logits = {};
  return out;
}

void EngineRun::renew_prediction(EngineRow& row, const StepSettings& at, std::vector<float>&& logits) const {
  row.prediction = std::move(logits);
  shape_prediction(*plan_.feedback.feedback, {.step_idx = at.step_idx, .num_steps = plan_.anneal_over}, at.temperature, facts_.vocabulary, row.prediction);
}

void EngineRun::decide(size_t r, const StepSettings& at, StepResult& result, double forward_seconds) {
  EngineRow& row = rows_[r];
  const size_t L = row.canvas.size();
  const Stopwatch watch;
  RowStatistics& statistics = result.statistics;
  const DrawKey draws = key(r, at.canvas_idx, at.step_idx);
  StepView view{.step_idx = at.step_idx, .num_steps = num_decisions_, .is_last = at.step_idx + 1 == num_decisions_, .temperature = at.temperature,
                .vocabulary = facts_.vocabulary, .canvas = row.canvas, .statistics = &statistics, .allowed = row.allowed, .knobs = at.knobs,
                .level_now = at.level_now, .level_next = at.level_next, .draws = &draws};
  CausalCheck check;
  if (plan_.sampler.facts.causal_checks) {
    if (const auto span = plan_.sampler.sampler->causal_span(view, row.state); span.first < span.second) {
      check = check_span(r, at.canvas_idx, view, result.logits, span);
      view.check = &check;
    }
    if (!at.show_logits && !at.keep_logits) result.logits = {};
  }
  const StepDecision decision = sampler_decision(row, view, at);
  std::optional<std::string> stop;
  row.history.forwards = row.result.forwards;
  if (!row.converged) stop = plan_.stop.rule->check(view, row.state, decision, row.history);
  std::vector<uint8_t> accepted(L);
  std::vector<int32_t> next = apply(row, row.canvas, decision, statistics, draws, accepted);
  if (plan_.sampler.facts.extra_canvas && !row.converged) {
    const Stopwatch extra;
    correct(r, at.canvas_idx, view, next);
    forward_seconds += extra.seconds();
  }
  const bool frozen = row.converged;
  if (frozen) {
    next = row.canvas;
    statistics.argmax = row.best;
  } else {
    row.best = statistics.argmax;
    row.mean_entropy = mean_entropy(view);
    row.history.argmax.push_back(statistics.argmax);
    row.history.num_taken.push_back(num_taken(view, decision));
    row.history.num_at_argmax.push_back(num_at_argmax(view, decision));
    ++row.steps;
  }
  if (observer_)
    observer_->on_step({.row = r, .canvas_idx = at.canvas_idx, .step_idx = at.step_idx, .temperature = at.temperature, .canvas_in = row.canvas,
                        .canvas_out = next, .statistics = &statistics, .accepted = accepted, .logits = result.logits,
                        .frozen = frozen, .forward_seconds = forward_seconds});
  row.canvas = std::move(next);
  if (at.keep_logits) row.previous_logits = std::move(result.logits);
  if (stop) {
    row.converged = true;
    row.reason = *stop;
  } else if (course_ && at.step_idx + 1 == num_decisions_) {
    row.converged = true;
  }
  row.result.seconds.denoise += watch.seconds();
}

StepDecision EngineRun::sampler_decision(EngineRow& row, const StepView& view, const StepSettings& at) const {
  StepDecision out;
  try {
    if (course_ && row.converged) out.action.assign(view.length(), Action::kKeep);  // perhaps beyond its own step limit
    else plan_.sampler.decide(view, row.state, out);
  } catch (const NonFiniteStatistics& error) {
    throw UserError(ExitCode::kSomeFailed, fmt::format("{}, canvas {}, step {}", error.what(), at.canvas_idx, at.step_idx));
  } catch (const std::logic_error& error) {  // a broken promise: the sample fails, whoever wrote the sampler
    throw UserError(ExitCode::kSomeFailed, fmt::format("{}, canvas {}, step {}", error.what(), at.canvas_idx, at.step_idx));
  }
  return out;
}

StepRequest EngineRun::step_request(const EngineRow& row, int32_t canvas_idx, int32_t step_idx, float temperature) const {
  const Feedback& feedback = *plan_.feedback.feedback;
  // What the engine feeds back it keeps itself, so that denoisers need not; a first step has nothing to be fed, as theirs.
  const bool gives = feedback.shapes(), has_prediction = gives && step_idx > 0 && !row.prediction.empty();
  return {.canvas_idx = canvas_idx, .step_idx = step_idx, .canvas = row.canvas, .temperature = temperature,
          .wanted = wanted_, .draw_key = std::nullopt, .noise_level = std::nullopt, .revealed = row.state.revealed,
          .self_conditioning = has_prediction ? SelfConditioning::kGiven : gives || !feedback.feeds() ? SelfConditioning::kNone : SelfConditioning::kPrevious,
          .given_logits = has_prediction ? std::span<const float>(row.prediction) : std::span<const float>(), .hold_prediction = gives, .filters = plan_.filters, .previous_logits = row.previous_logits};
}

StepResult EngineRun::forward(const EngineRow& row, const StepRequest& request) const {
  const DenoiseRow call{.sequence = row.sequence.get(), .request = request};
  try {
    return std::move(denoiser_.denoise(std::span(&call, 1)).front());
  } catch (const NonFiniteLogits& error) {
    throw UserError(ExitCode::kSomeFailed, fmt::format("the denoiser's logits are NaN or infinite at canvas {}, step {}, position {}",
                                                       request.canvas_idx, request.step_idx, error.position()));
  }
}

std::vector<int32_t> EngineRun::apply(const EngineRow& row, std::span<const int32_t> canvas, const StepDecision& decision, const RowStatistics& statistics, const DrawKey& draws,
                                      std::vector<uint8_t>& accepted) {
  std::vector<int32_t> next(canvas.size());
  for (size_t p = 0; p < canvas.size(); ++p) {
    // In torch mode noise is drawn for every position, accepted or not, as the reference does.
    const bool needs_noise = decision.action[p] == Action::kNoise && row.allowed[p];
    const int32_t fresh = torch() || needs_noise ? noise(draws, Purpose::kNoise, p) : 0;
    switch (row.allowed[p] ? decision.action[p] : Action::kKeep) {
      case Action::kKeep: next[p] = canvas[p]; break;
      case Action::kCandidate: next[p] = statistics.candidate[p]; accepted[p] = 1; break;
      case Action::kArgmax: next[p] = statistics.argmax[p]; accepted[p] = 1; break;
      case Action::kToken: next[p] = decision.token[p]; accepted[p] = 1; break;
      case Action::kNoise: next[p] = fresh; break;
    }
  }
  return next;
}

/// The extra canvas forwards after a step, on the canvas it left, at temperature 1: a law they keep is the model's own. They leave the
/// self-conditioning prediction alone, and draw under step indices that no step has (steps are limited to a million).
void EngineRun::correct(size_t r, int32_t canvas_idx, const StepView& step, std::vector<int32_t>& canvas) {
  EngineRow& row = rows_[r];
  const int32_t count = plan_.sampler.sampler->extra_forwards(step.step_idx, plan_.num_steps);
  for (int32_t sweep = 0; sweep < count; ++sweep) {
    const DrawKey draws = key(r, canvas_idx, step.step_idx + ((sweep + 1) << 20));
    StepRequest request = step_request(row, canvas_idx, step.step_idx, 1);
    request.canvas = canvas;
    request.hold_prediction = true;
    request.draw_key = draws;
    if (plan_.tells_level) request.noise_level = step.level_next;
    const StepResult result = forward(row, request);
    ++row.passes;
    count_forward(row, &ForwardCounts::denoise, row.canvas.size());
    StepView view = step;
    view.canvas = canvas;
    view.statistics = &result.statistics;
    view.level_now = step.level_next;
    view.draws = &draws;
    StepDecision decision;
    plan_.sampler.decide_again(view, row.state, decision);
    std::vector<uint8_t> ignored(canvas.size());
    canvas = apply(row, canvas, decision, result.statistics, draws, ignored);
  }
}

}  // namespace canvaslab
