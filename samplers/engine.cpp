#include "samplers/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "core/torch_candidate.h"

namespace canvaslab {
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

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

/// One sequence while it is being generated.
struct Row {
  std::unique_ptr<Sequence> sequence;
  std::vector<int32_t> canvas;       // [L] fed to the next forward
  std::vector<int32_t> best;         // [L] argmax of the last step that counted
  std::vector<uint8_t> allowed;      // [L] 0 = pinned
  CanvasState state;
  StopHistory history;
  std::string reason;                // why this canvas stopped
  int32_t steps = 0;                 // of this canvas
  bool converged = false;            // this canvas
  bool finished = false;             // the sequence
  std::vector<float> previous_logits;  // [L, V] of this canvas's last step, kept for Statistic::kDivergence only
  std::vector<float> next_logits;    // [V] causal law of the next token, for causal verification only
  bool committed = false;            // the verification already holds what append would add
  int64_t passes = 0;
  RowResult result;
};

class Run {
 public:
  Run(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> inputs, Observer* observer, const Course* course)
      : denoiser_(denoiser), plan_(plan), inputs_(inputs), observer_(observer), course_(course), facts_(denoiser.facts()),
        generator_(inputs.empty() ? 0 : inputs[0].seed), rows_(inputs.size()) {
    wanted_ = plan.sampler.facts.statistics | plan.stop.statistics |
              StatisticSet{Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate};
    num_decisions_ = plan.num_decisions();
    num_canvases_ = course ? course->num_canvases() : plan.num_canvases();
    total_length_ = static_cast<size_t>(num_canvases_) * static_cast<size_t>(plan.canvas_length);
    if (course && verifies()) throw usage_error("sampler '{}' checks canvases in the causal mode, of which there is no recording", plan.sampler.name);
  }

  std::vector<RowResult> all() {
    prefill();
    for (int32_t canvas_idx = 0;; ++canvas_idx) {
      start_canvases(canvas_idx);
      for (int32_t step_idx = 0; step_idx < num_steps(canvas_idx); ++step_idx) {
        if (step_idx > 0 && canvases_are_done()) break;
        step(canvas_idx, step_idx);
      }
      finish_canvases(canvas_idx);
      if (all_rows([](const Row& row) { return row.finished; })) break;
      if (!verifies() && canvas_idx + 1 == num_canvases_) break;
      append();
    }
    std::vector<RowResult> results;
    for (auto& row : rows_) results.push_back(summarise(row));
    return results;
  }

 private:
  bool torch() const { return plan_.rng == RngMode::kTorch; }
  bool verifies() const { return plan_.sampler.facts.causal_verify.has_value(); }
  int32_t num_steps(int32_t canvas_idx) const { return course_ ? course_->num_steps(canvas_idx) : num_decisions_; }
  /// In the reference a row that finished in an earlier canvas still denoises; only `converged` ends a canvas there. On a
  /// course every recorded step draws, so that the stream of numbers stays where it was.
  bool canvases_are_done() const {
    return all_rows([&](const Row& row) { return row.converged || (row.finished && !torch()); }) && !(course_ && torch());
  }
  template <typename Predicate>
  bool all_rows(Predicate predicate) const {
    return std::all_of(rows_.begin(), rows_.end(), predicate);
  }
  bool idle(const Row& row) const { return !torch() && (row.finished || row.converged); }
  DrawKey key(size_t r, int32_t canvas_idx, int32_t step_idx) const {
    return {.seed = inputs_[r].seed, .item = inputs_[r].item, .repeat = inputs_[r].repeat,
            .canvas_idx = static_cast<uint32_t>(canvas_idx), .step_idx = static_cast<uint32_t>(step_idx)};
  }
  /// Counts a forward, with those of contexts without the prompt that it takes.
  void count_forward(Row& row, int64_t ForwardCounts::*kind) const {
    ++(row.result.forwards.*kind);
    if (num_decisions_ == 0) ++row.passes;  // where nothing is denoised, the causal mode's forwards are the ones that write
    row.result.forwards.unconditional += facts_.unconditional_forwards;
  }
  /// Of draws that belong to a place in the text: position 0 is the row's next token.
  DrawKey text_key(size_t r) const {
    DrawKey out = key(r, 0, 0);
    out.first_position = static_cast<uint32_t>(rows_[r].result.canvas_ids.size());
    return out;
  }
  int32_t noise(const DrawKey& draws, Purpose purpose, size_t position) {
    if (facts_.absorbing) return facts_.mask_id;
    const auto vocabulary = static_cast<uint32_t>(facts_.vocabulary);
    for (uint32_t lane = 0;; ++lane) {
      const int32_t token = torch() ? generator_.randint(vocabulary)
                                    : static_cast<int32_t>(draws.below(vocabulary, purpose, static_cast<uint32_t>(position), lane));
      if (torch() || std::find(facts_.banned_ids.begin(), facts_.banned_ids.end(), token) == facts_.banned_ids.end()) return token;
    }
  }

  void prefill() {
    size_t longest = 0;
    for (const auto& input : inputs_) longest = std::max(longest, input.prompt.ids.size());
    for (size_t r = 0; r < rows_.size(); ++r) {
      check_input(inputs_[r]);
      Prompt prompt = inputs_[r].prompt;
      if (torch()) prompt.left_padding = static_cast<int32_t>(longest - prompt.ids.size());
      const Stopwatch watch;
      rows_[r].sequence = verifies() ? prefill_for_verification(rows_[r], prompt) : denoiser_.prefill(prompt);
      rows_[r].result.seconds.prefill += watch.seconds();
      rows_[r].result.forwards.prefill = prompt.ids.empty() ? 0 : 1;
      rows_[r].result.forwards.unconditional += facts_.unconditional_prefills;
    }
  }

  /// The law of the first token comes from the denoiser, or from the last token of the prompt, encoded on its own.
  std::unique_ptr<Sequence> prefill_for_verification(Row& row, Prompt prompt) {
    auto sequence = denoiser_.prefill(prompt);
    row.next_logits = denoiser_.next_logits(*sequence);
    if (!row.next_logits.empty()) return sequence;
    if (prompt.ids.empty()) throw usage_error("sampler '{}' needs the causal law of the first token: give a prompt of at least one token", plan_.sampler.name);
    const int32_t last = prompt.ids.back();
    prompt.ids.pop_back();
    if (!prompt.token_types.empty()) prompt.token_types.pop_back();
    sequence = denoiser_.prefill(prompt);
    row.next_logits = denoiser_.append(*sequence, std::span(&last, 1), true);
    count_forward(row, &ForwardCounts::verify);
    return sequence;
  }

  void check_input(const RowInput& input) const {
    const auto L = static_cast<size_t>(plan_.canvas_length);
    if (!input.init_canvas.empty() && input.init_canvas.size() != L)
      throw usage_error("the start canvas has {} tokens; expected the canvas length, {}", input.init_canvas.size(), L);
    check_token_ids(input.init_canvas, facts_.vocabulary, "start canvas");
    if (!input.init_canvas.empty() && num_decisions_ == 0) throw usage_error("sampler '{}' denoises no canvas, so there is none to start from; leave --init-canvas out", plan_.sampler.name);
    for (const auto& [position, token] : input.pins) {
      if (position < 0 || position >= static_cast<int64_t>(plan_.num_canvases()) * plan_.canvas_length)
        throw usage_error("pinned position {} is outside the generated text [0, {})", position, plan_.num_canvases() * plan_.canvas_length);
      check_token_ids(std::span(&token, 1), facts_.vocabulary, fmt::format("pin at {}", position));
    }
  }

  void start_canvases(int32_t canvas_idx) {
    const auto L = static_cast<size_t>(plan_.canvas_length);
    for (size_t r = 0; r < rows_.size(); ++r) {
      Row& row = rows_[r];
      row.canvas.resize(L);
      // Drawn even when a start canvas is given: the reference's stream is consumed there too.
      const DrawKey draws = key(r, canvas_idx, 0);
      for (size_t p = 0; p < L; ++p) row.canvas[p] = noise(draws, Purpose::kCanvasInit, p);
      if (canvas_idx == 0 && !inputs_[r].init_canvas.empty()) row.canvas = inputs_[r].init_canvas;
      row.allowed.assign(L, 1);
      for (const auto& [position, token] : inputs_[r].pins) {
        const auto local = static_cast<size_t>(position) - row.result.canvas_ids.size();  // huge for positions behind us
        if (local >= L) continue;
        row.allowed[local] = 0;
        row.canvas[local] = token;
      }
      row.previous_logits.clear();
      row.committed = false;
      row.best = row.canvas;
      row.history = {};
      row.reason = course_ && num_steps(canvas_idx) < num_decisions_ ? kCourseEnds : "step_limit";
      row.steps = 0;
      row.converged = false;
      plan_.sampler.sampler->begin(row.state, L, num_decisions_);
    }
  }

  void step(int32_t canvas_idx, int32_t step_idx) {
    const auto L = static_cast<size_t>(plan_.canvas_length);
    const Progress ramp{.step_idx = step_idx, .num_steps = plan_.anneal_over};
    const auto temperature = static_cast<float>(plan_.temperature->value(ramp));
    const auto knobs = plan_.sampler.knob_values(ramp);
    const double level_now = static_cast<double>(step_idx) / num_decisions_;
    const double level_next = static_cast<double>(step_idx + 1) / num_decisions_;
    const bool keep_logits = wanted_.has(Statistic::kDivergence), show_logits = observer_ && observer_->wants_logits();
    const bool want_logits = torch() || keep_logits || show_logits;
    std::vector<StepResult> results(rows_.size());
    std::vector<double> forward_seconds(rows_.size());
    for (size_t r = 0; r < rows_.size(); ++r) {
      Row& row = rows_[r];
      if (idle(row)) continue;
      if (course_ && !row.converged) {
        const auto recorded = course_->canvas(r, canvas_idx, step_idx);
        row.canvas.assign(recorded.begin(), recorded.end());
      }
      StepRequest request = step_request(row, canvas_idx, step_idx, temperature);
      request.hold_prediction = row.converged;
      request.want_logits = want_logits;
      if (!torch()) request.draw_key = plan_.sampler.facts.coupled_draws ? text_key(r) : key(r, canvas_idx, step_idx);
      if (plan_.tells_level) request.noise_level = level_now;
      const Stopwatch watch;
      results[r] = forward(row, request);
      forward_seconds[r] = watch.seconds();
      row.result.seconds.denoise += forward_seconds[r];
      if (!row.converged && !row.finished) {
        ++row.passes;
        count_forward(row, &ForwardCounts::denoise);
      }
      if (torch()) {
        draw_torch_candidates(results[r].logits, facts_.vocabulary, temperature, generator_, results[r].statistics);
        if (!show_logits && !keep_logits) results[r].logits = {};
      }
    }
    for (size_t r = 0; r < rows_.size(); ++r) {
      Row& row = rows_[r];
      if (idle(row)) continue;
      const Stopwatch watch;
      RowStatistics& statistics = results[r].statistics;
      const DrawKey draws = key(r, canvas_idx, step_idx);
      const StepView view{.step_idx = step_idx, .num_steps = num_decisions_, .is_last = step_idx + 1 == num_decisions_,
                          .temperature = temperature, .vocabulary = facts_.vocabulary, .canvas = row.canvas,
                          .statistics = &statistics, .allowed = row.allowed, .knobs = knobs, .level_now = level_now,
                          .level_next = level_next, .draws = &draws};
      StepDecision decision;
      try {
        if (course_ && row.converged) decision.action.assign(L, Action::kKeep);  // perhaps beyond its own step limit
        else plan_.sampler.decide(view, row.state, decision);
      } catch (const NonFiniteStatistics& error) {
        throw UserError(ExitCode::kSomeFailed, fmt::format("{}, canvas {}, step {}", error.what(), canvas_idx, step_idx));
      } catch (const std::logic_error& error) {  // a broken promise: the sample fails, whoever wrote the sampler
        throw UserError(ExitCode::kSomeFailed, fmt::format("{}, canvas {}, step {}", error.what(), canvas_idx, step_idx));
      }
      std::optional<std::string> stop;
      if (!row.converged) stop = plan_.stop.rule->check(view, row.state, decision, row.history);
      std::vector<uint8_t> accepted(L);
      std::vector<int32_t> next = apply(row, row.canvas, decision, statistics, draws, accepted);
      if (plan_.sampler.facts.extra_canvas && !row.converged) {
        const Stopwatch extra;
        correct(r, canvas_idx, view, next);
        forward_seconds[r] += extra.seconds();
      }
      const bool frozen = row.converged;
      if (frozen) {
        next = row.canvas;
        statistics.argmax = row.best;
      } else {
        row.best = statistics.argmax;
        row.history.argmax.push_back(statistics.argmax);
        row.history.num_taken.push_back(num_taken(view, decision));
        ++row.steps;
      }
      if (observer_)
        observer_->on_step({.row = r, .canvas_idx = canvas_idx, .step_idx = step_idx, .temperature = temperature, .canvas_in = row.canvas,
                            .canvas_out = next, .statistics = &statistics, .accepted = accepted, .logits = results[r].logits,
                            .frozen = frozen, .forward_seconds = forward_seconds[r]});
      row.canvas = std::move(next);
      if (keep_logits) row.previous_logits = std::move(results[r].logits);
      if (stop) {
        row.converged = true;
        row.reason = *stop;
      } else if (course_ && step_idx + 1 == num_decisions_) {
        row.converged = true;
      }
      row.result.seconds.denoise += watch.seconds();
    }
  }

  StepRequest step_request(const Row& row, int32_t canvas_idx, int32_t step_idx, float temperature) const {
    return {.canvas_idx = canvas_idx, .step_idx = step_idx, .canvas = row.canvas, .temperature = temperature,
            .wanted = wanted_, .draw_key = std::nullopt, .noise_level = std::nullopt, .revealed = row.state.revealed,
            .self_conditioning = plan_.self_conditioning ? SelfConditioning::kPrevious : SelfConditioning::kNone,
            .given_logits = {}, .filters = plan_.filters, .previous_logits = row.previous_logits};
  }
  StepResult forward(const Row& row, const StepRequest& request) const {
    const DenoiseRow call{.sequence = row.sequence.get(), .request = request};
    try {
      return std::move(denoiser_.denoise(std::span(&call, 1)).front());
    } catch (const NonFiniteLogits& error) {
      throw UserError(ExitCode::kSomeFailed, fmt::format("the denoiser's logits are NaN or infinite at canvas {}, step {}, position {}",
                                                         request.canvas_idx, request.step_idx, error.position()));
    }
  }

  /// The canvas after a decision; marks what was taken.
  std::vector<int32_t> apply(const Row& row, std::span<const int32_t> canvas, const StepDecision& decision, const RowStatistics& statistics,
                             const DrawKey& draws, std::vector<uint8_t>& accepted) {
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

  /// The extra canvas forwards after a step, on the canvas it left. They leave the self-conditioning prediction alone, and
  /// draw under step indices that no step has (steps are limited to a million).
  void correct(size_t r, int32_t canvas_idx, const StepView& step, std::vector<int32_t>& canvas) {
    Row& row = rows_[r];
    const int32_t count = plan_.sampler.sampler->extra_forwards(step.step_idx, plan_.num_steps);
    for (int32_t sweep = 0; sweep < count; ++sweep) {
      const DrawKey draws = key(r, canvas_idx, step.step_idx + ((sweep + 1) << 20));
      StepRequest request = step_request(row, canvas_idx, step.step_idx, step.temperature);
      request.canvas = canvas;
      request.hold_prediction = true;
      request.draw_key = draws;
      if (plan_.tells_level) request.noise_level = step.level_next;
      const StepResult result = forward(row, request);
      ++row.passes;
      count_forward(row, &ForwardCounts::denoise);
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

  /// One token of the causal law, for a sampler that drafts nothing. Filters see it as they see a candidate's law.
  std::vector<int32_t> write_next(size_t r, int32_t canvas_idx, const std::vector<int32_t>& canvas) {
    Row& row = rows_[r];
    const Stopwatch watch;
    RowStatistics drawn;
    drawn.resize(1, {Statistic::kCandidate});
    try {
      compute_row_statistics(row.next_logits, facts_.vocabulary, 0, 1,
                             {.temperature = static_cast<float>(*plan_.sampler.facts.causal_verify), .wanted = {Statistic::kCandidate}, .canvas = {}, .draw_key = text_key(r), .filters = plan_.filters}, drawn);
    } catch (const NonFiniteLogits&) {
      throw UserError(ExitCode::kSomeFailed, fmt::format("the causal logits are NaN or infinite at position {}", canvas_idx));
    }
    row.result.seconds.append += watch.seconds();
    return {row.allowed[0] ? drawn.candidate[0] : canvas[0]};
  }

  /// What the causal mode makes of a draft: the longest prefix that it would have written with its own draws, and its token
  /// where they part. Every token is therefore a draw of the causal law, whatever the draft. Pinned positions are taken as
  /// they are. Masks that a draft left standing end it.
  std::vector<int32_t> verify(size_t r, int32_t canvas_idx, const std::vector<int32_t>& draft) {
    Row& row = rows_[r];
    const Stopwatch watch;
    const auto V = static_cast<size_t>(facts_.vocabulary);
    const auto known = static_cast<size_t>((facts_.absorbing ? std::find(draft.begin(), draft.end(), facts_.mask_id) : draft.end()) - draft.begin());
    auto ahead = row.sequence->fork();
    std::vector<float> rows;  // [known, V]: row p is the law of position p + 1
    if (known > 0) {
      rows = denoiser_.append(*ahead, std::span(draft).first(known), true);
      count_forward(row, &ForwardCounts::verify);
    }
    const bool coupled = plan_.sampler.facts.coupled_draws;
    const DrawKey draws = coupled ? text_key(r) : key(r, canvas_idx, 0);
    const Purpose purpose = coupled ? Purpose::kCandidate : Purpose::kVerify;
    std::vector<int32_t> out;
    bool agrees = true;
    for (size_t p = 0; agrees && p < draft.size() && row.result.canvas_ids.size() + p < total_length_; ++p) {
      const std::span<const float> law = p == 0 ? std::span<const float>(row.next_logits) : std::span<const float>(rows).subspan((p - 1) * V, V);
      try {
        out.push_back(row.allowed[p] ? draw_token(law, static_cast<float>(*plan_.sampler.facts.causal_verify), draws.uniform(purpose, static_cast<uint32_t>(p))) : draft[p]);
      } catch (const NonFiniteLogits&) {
        throw UserError(ExitCode::kSomeFailed, fmt::format("the causal logits are NaN or infinite at canvas {}, position {}", canvas_idx, p));
      }
      agrees = out.back() == draft[p];
    }
    row.committed = agrees && out.size() == draft.size();
    if (row.committed) {
      row.sequence = std::move(ahead);
      row.next_logits.assign(rows.end() - static_cast<ptrdiff_t>(V), rows.end());
    }
    row.result.seconds.append += watch.seconds();
    return out;
  }

  bool is_end(int32_t token) const { return std::find(plan_.end_ids.begin(), plan_.end_ids.end(), token) != plan_.end_ids.end(); }

  void finish_canvases(int32_t canvas_idx) {
    const auto L = static_cast<size_t>(plan_.canvas_length);
    for (size_t r = 0; r < rows_.size(); ++r) {
      Row& row = rows_[r];
      if (row.finished && !torch()) continue;
      std::vector<int32_t> emitted = plan_.emission == Emission::kArgmax ? row.best : row.canvas;
      for (size_t p = 0; p < L; ++p)
        if (!row.allowed[p]) emitted[p] = row.canvas[p];
      if (verifies()) emitted = num_decisions_ > 0 ? verify(r, canvas_idx, emitted) : write_next(r, canvas_idx, emitted);
      if (row.finished) {
        emitted.assign(L, plan_.pad_id);
      } else {
        const auto end = std::find_if(emitted.begin(), emitted.end(), [&](int32_t token) { return is_end(token); });
        const size_t valid = end == emitted.end() ? emitted.size() : static_cast<size_t>(end - emitted.begin()) + 1;
        row.result.valid_per_canvas.push_back(static_cast<int32_t>(valid));
        row.result.steps_per_canvas.push_back(row.steps);
        row.result.canvas_stop.push_back(row.reason);
        if (end != emitted.end()) {
          std::fill(emitted.begin() + static_cast<ptrdiff_t>(valid), emitted.end(), plan_.pad_id);
          row.finished = !course_;
          row.result.stop_reason = "end_token";
        }
      }
      row.result.canvas_ids.insert(row.result.canvas_ids.end(), emitted.begin(), emitted.end());
      if (verifies() && row.result.canvas_ids.size() >= total_length_) row.finished = true;
      row.canvas = std::move(emitted);  // what append commits
      if (observer_) observer_->on_canvas(r, canvas_idx, row.canvas);
    }
  }

  void append() {
    for (auto& row : rows_) {
      if (row.finished && !torch()) continue;
      if (row.committed) continue;
      const Stopwatch watch;
      auto logits = denoiser_.append(*row.sequence, row.canvas, verifies());
      if (verifies()) row.next_logits.assign(logits.end() - facts_.vocabulary, logits.end());
      row.result.seconds.append += watch.seconds();
      if (!row.finished) count_forward(row, &ForwardCounts::append);
    }
  }

  RowResult summarise(Row& row) const {
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

  const Denoiser& denoiser_;
  const GenerationPlan& plan_;
  std::span<const RowInput> inputs_;
  Observer* observer_;
  const Course* course_;
  const DenoiserFacts& facts_;
  TorchGenerator generator_;
  std::vector<Row> rows_;
  StatisticSet wanted_;
  int32_t num_decisions_ = 0;   // steps of a canvas
  int32_t num_canvases_ = 0;
  size_t total_length_ = 0;     // tokens of a sequence that meets no end token
};

}  // namespace

std::vector<RowResult> generate(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> rows, Observer* observer, const Course* course) {
  if (rows.empty()) return {};
  return Run(denoiser, plan, rows, observer, course).all();
}

}  // namespace canvaslab
