#pragma once
// One run of the engine, seen from inside: what its parts (canvases, steps, causal mode) share. Only the engine includes this.
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/torch_candidate.h"
#include "samplers/engine.h"

namespace canvaslab {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// One sequence while it is being generated.
struct EngineRow {
  std::unique_ptr<Sequence> sequence;
  std::vector<int32_t> canvas;       // [L] fed to the next forward
  std::vector<int32_t> best;         // [L] argmax of the last step that counted
  std::vector<uint8_t> allowed;      // [L] 0 = pinned
  CanvasState state;
  StopHistory history;
  std::vector<FinishedCanvas> canvases;  // what the length policy looks at
  float mean_entropy = 0;            // of the last step that counted, nats
  std::string reason;                // why this canvas stopped
  int32_t steps = 0;                 // of this canvas
  bool converged = false;            // this canvas
  bool finished = false;             // the sequence
  std::vector<float> previous_logits;  // [L, V] of this canvas's last step, kept for Statistic::kDivergence only
  std::vector<float> prediction;     // [L, V] tempered and shaped, fed to the next step; empty where denoisers keep it themselves
  std::vector<float> next_logits;    // [V] causal law of the next token, where the causal mode is asked
  bool committed = false;            // the verification already holds what append would add
  std::optional<int32_t> anchor;     // last token of the text, not appended yet: it stands at position 0 of the canvas
  int64_t passes = 0;
  RowResult result;
};

/// The loop over the rows of one call of generate.
class EngineRun {
 public:
  EngineRun(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> inputs, Observer* observer, const Course* course);
  std::vector<RowResult> all();

 private:
  bool torch() const { return plan_.rng == RngMode::kTorch; }
  bool verifies() const { return plan_.sampler.facts.causal_verify.has_value(); }
  /// The causal law of the next token is kept between canvases.
  bool asks_causal_mode() const { return verifies() || plan_.sampler.facts.causal_checks.has_value(); }
  /// A finished canvas may be shorter than another row's, so that rows end each by its own count of tokens.
  bool counts_tokens() const { return verifies() || plan_.length.adaptive(); }
  int32_t num_steps(int32_t canvas_idx) const { return course_ ? course_->num_steps(canvas_idx) : num_decisions_; }
  bool canvases_are_done() const;
  template <typename Predicate>
  bool all_rows(Predicate predicate) const {
    for (const auto& row : rows_)
      if (!predicate(row)) return false;
    return true;
  }
  bool idle(const EngineRow& row) const { return !torch() && (row.finished || row.converged); }
  DrawKey key(size_t r, int32_t canvas_idx, int32_t step_idx) const {
    return {.seed = inputs_[r].seed, .item = inputs_[r].item, .repeat = inputs_[r].repeat,
            .canvas_idx = static_cast<uint32_t>(canvas_idx), .step_idx = static_cast<uint32_t>(step_idx)};
  }
  /// Of draws that belong to a place in the text: position 0 is position 0 of the row's canvas.
  DrawKey text_key(size_t r) const {
    DrawKey out = key(r, 0, 0);
    out.first_position = static_cast<uint32_t>(rows_[r].result.canvas_ids.size()) - (rows_[r].anchor ? 1 : 0);
    return out;
  }
  /// Counts a forward, with those of contexts without the prompt that it takes.
  void count_forward(EngineRow& row, int64_t ForwardCounts::*kind, size_t positions) const {
    ++(row.result.forwards.*kind);
    if (num_decisions_ == 0) ++row.passes;  // where nothing is denoised, the causal mode's forwards are the ones that write
    row.result.forwards.unconditional += facts_.unconditional_forwards;
    row.history.positions.*kind += static_cast<int64_t>(positions);
    row.history.positions.unconditional += static_cast<int64_t>(positions) * facts_.unconditional_forwards;
  }
  int32_t noise(const DrawKey& draws, Purpose purpose, size_t position);
  bool is_end(int32_t token) const;

  // --- canvases: engine_canvas.cpp
  void check_input(const RowInput& input) const;
  void prefill();
  void start_canvases(int32_t canvas_idx);
  /// Tokens of a row's next canvas.
  size_t next_length(size_t r, int32_t canvas_idx);
  StepResult preview(size_t r, int32_t canvas_idx, size_t length);
  void finish_canvases(int32_t canvas_idx);
  void append();
  RowResult summarise(EngineRow& row) const;

  // --- steps: engine_step.cpp
  /// What a denoiser may know beforehand of a canvas's steps; nothing where more than statistics decides.
  void foresee();
  void step(int32_t canvas_idx, int32_t step_idx);
  /// What is the same for every row at a step.
  struct StepSettings {
    int32_t canvas_idx, step_idx;
    float temperature;
    std::vector<double> knobs;
    double level_now, level_next;
    bool keep_logits, show_logits, renews_prediction, want_logits;
  };
  StepSettings step_settings(int32_t canvas_idx, int32_t step_idx) const;
  StepResult forward_of_step(size_t r, const StepSettings& at, double& seconds);
  void decide(size_t r, const StepSettings& at, StepResult& result, double forward_seconds);
  StepDecision sampler_decision(EngineRow& row, const StepView& view, const StepSettings& at) const;
  /// What is fed back from now on, made from a step's logits.
  void renew_prediction(EngineRow& row, const StepSettings& at, std::vector<float>&& logits) const;
  StepRequest step_request(const EngineRow& row, int32_t canvas_idx, int32_t step_idx, float temperature) const;
  StepResult forward(const EngineRow& row, const StepRequest& request) const;
  /// The canvas after a decision; marks what was taken.
  std::vector<int32_t> apply(const EngineRow& row, std::span<const int32_t> canvas, const StepDecision& decision, const RowStatistics& statistics, const DrawKey& draws,
                             std::vector<uint8_t>& accepted);
  void correct(size_t r, int32_t canvas_idx, const StepView& step, std::vector<int32_t>& canvas);

  // --- the causal mode: engine_causal.cpp
  std::unique_ptr<Sequence> prefill_for_causal_mode(size_t r, Prompt prompt);
  std::vector<int32_t> verify(size_t r, int32_t canvas_idx, const std::vector<int32_t>& draft);
  std::vector<int32_t> write_next(size_t r, int32_t canvas_idx, const std::vector<int32_t>& canvas);
  CausalCheck check_span(size_t r, int32_t canvas_idx, const StepView& view, std::span<const float> logits, std::pair<size_t, size_t> span);

  const Denoiser& denoiser_;
  const GenerationPlan& plan_;
  std::span<const RowInput> inputs_;
  Observer* observer_;
  const Course* course_;
  const DenoiserFacts& facts_;
  TorchGenerator generator_;
  std::vector<EngineRow> rows_;
  StatisticSet wanted_;
  std::vector<float> outlook_temperatures_, outlook_bounds_;  // [steps of a canvas]; empty where nothing is foreseen
  StableStop outlook_stop_;
  int32_t num_decisions_ = 0;   // steps of a canvas
  int32_t num_canvases_ = 0;    // of a plan whose canvases have one length
  size_t total_length_ = 0;     // tokens of a sequence that meets no end token
};

}  // namespace canvaslab
