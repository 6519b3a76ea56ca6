#pragma once
// The loop: schedules, forward, statistics, sampler, stop rule, apply, commit. The engine owns noise, randomness, pinned
// positions and emission; plug-ins only decide.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/denoiser.h"
#include "samplers/length_policy.h"
#include "samplers/sampler.h"
#include "samplers/self_conditioning.h"
#include "samplers/stop_rule.h"

namespace canvaslab {

enum class Emission { kArgmax, kCanvas };
enum class RngMode {
  kCounter,  ///< every draw a pure function of (seed, item, repeat, canvas, step, position, purpose)
  kTorch,    ///< transformers' draws in transformers' order from one mt19937 stream
};

/// What the user asks for; absent values are resolved by resolve_plan.
struct PlanRequest {
  std::string sampler = "entropy_bound";
  std::optional<std::string> stop, temperature, emission;
  /// num_steps limits the steps of a canvas; anneal_over is the length of the ramp that the temperature and every knob
  /// written as a schedule run over (default: num_steps), so that a lower limit cuts the ramp instead of squeezing it.
  /// canvas_policy stands for canvas_length where lengths are decided on the way: an expression of length_policies().
  std::optional<std::string> canvas_policy;
  std::optional<int32_t> canvas_length, num_steps, anneal_over, max_new_tokens;
  bool keep_ramp = false;                    ///< without anneal_over: as long as the model's own step limit, whatever num_steps is
  std::optional<int32_t> top_k;              ///< at least 1
  std::optional<double> top_p, min_p;        ///< (0, 1], [0, 1]
  std::optional<std::string> stats_on;       ///< filtered (the default) or unfiltered
  /// told: to the denoiser, at every step of a sampler that follows a noise level (the default, and only there); withheld:
  /// the denoiser has to do without, as a network does.
  std::optional<std::string> noise_level;
  std::string feedback = "on";               ///< self-conditioning: an expression of self_conditionings()
  RngMode rng = RngMode::kCounter;
};

/// Sets the canvas length of a request: a whole number, or a length policy's expression.
void set_canvas_length(PlanRequest& request, const std::string& text);

/// A fully resolved way to generate. Every value is known; canonical() holds them all.
struct GenerationPlan {
  ConfiguredSampler sampler;
  ConfiguredStop stop;
  std::unique_ptr<Schedule> temperature;
  std::string temperature_text;
  Emission emission = Emission::kArgmax;
  ConfiguredLength length;             ///< of each canvas
  int32_t canvas_length = 256;         ///< ... the longest one
  int32_t num_steps = 48, anneal_over = 48, max_new_tokens = 256;
  ConfiguredFeedback feedback;         ///< self-conditioning
  bool tells_level = false;            ///< the denoiser is told the noise level
  RngMode rng = RngMode::kCounter;
  LogitFilters filters;
  std::vector<int32_t> end_ids;
  int32_t pad_id = 0;

  /// Key and value of every resolved setting, in a fixed order.
  std::vector<std::pair<std::string, std::string>> settings() const;
  /// Steps of a canvas: num_steps less the forwards that the sampler spends beside them.
  int32_t num_decisions() const { return sampler.sampler->num_decisions(num_steps); }
  /// Canvases of the longest length that max_new_tokens takes: it is rounded up to these, whatever lengths a policy gives.
  int32_t num_canvases() const { return (max_new_tokens + canvas_length - 1) / canvas_length; }
  /// The most canvases of a sequence whose drafts are not cut.
  int32_t most_canvases() const { return (num_canvases() * canvas_length + length.policy->shortest() - 1) / length.policy->shortest(); }
};

/// Fills what is absent: the sampler brings its own stop rule and emission; the denoiser's defaults fill parameters of
/// plug-ins of the same name, then temperature, lengths and steps; then the house defaults. Contradictions are errors.
GenerationPlan resolve_plan(const PlanRequest& request, const Denoiser& denoiser);

/// The request for exactly these settings, every one given: what GenerationPlan::settings() stored, read back. Keys that
/// belong to the denoiser (end_ids, pad_id) and unknown ones are left alone. Errors: input, naming `where` and the key.
PlanRequest request_of_settings(const std::vector<std::pair<std::string, std::string>>& settings, const std::string& where);

/// One sequence to generate.
struct RowInput {
  Prompt prompt;
  uint64_t seed = 0, item = 0;
  uint32_t repeat = 0;
  /// Start of the first canvas instead of noise; [L] or empty. Samplers that need the noise level take it for pure noise.
  std::vector<int32_t> init_canvas;
  std::map<int64_t, int32_t> pins;       ///< position after the prompt -> token that stays there
};

struct PhaseSeconds {
  double prefill = 0, denoise = 0, append = 0;
};

struct RowResult {
  std::vector<int32_t> canvas_ids;       ///< whole canvases (or what was accepted of them), with pads as the reference leaves them
  std::vector<int32_t> token_ids;        ///< cut after the first end token, trailing pads removed
  std::string stop_reason;               ///< of the sequence: "end_token" or "length"
  std::vector<std::string> canvas_stop;  ///< per canvas: the stop rule's reason, or "step_limit"
  std::vector<int32_t> steps_per_canvas;
  std::vector<int32_t> length_per_canvas; ///< where a policy decides lengths, else empty
  std::vector<int32_t> valid_per_canvas; ///< tokens up to and including the first end token
  ForwardCounts forwards;
  PhaseSeconds seconds;
  double tokens_per_forward = 0;         ///< transformers: new tokens that are no pad / denoiser forwards while active
  double tokens_per_forward_report = 0;  ///< sum of valid tokens / (denoise + verify + unconditional + append forwards), evaluation.md 5.1
};

/// One executed step of one row, as observers see it. Spans live during the call only.
struct StepRecord {
  size_t row = 0;
  int32_t canvas_idx = 0, step_idx = 0;
  float temperature = 1;
  std::span<const int32_t> canvas_in, canvas_out;   // [L]
  const RowStatistics* statistics = nullptr;
  std::span<const uint8_t> accepted;                // [L]
  std::span<const float> logits;                    // [L, V] or empty
  bool frozen = false;                              ///< the row's canvas had converged before this step (torch mode only)
  double forward_seconds = 0;
};

/// Feeds trace, live view, journal and viewer; nothing else does.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual bool wants_logits() const { return false; }
  /// Whether steps have to be shown as they are made; else a denoiser may make a canvas's steps in one go, and they come all at once.
  virtual bool watches() const { return false; }
  virtual void on_step(const StepRecord&) {}
  virtual void on_canvas(size_t /*row*/, int32_t /*canvas_idx*/, std::span<const int32_t> /*emitted*/) {}
};

/// A recorded run that a new one is held to: every step starts from the recorded canvas, whatever the step before made of
/// it, and canvases have the recorded numbers of steps. What is decided there is the new run's own; a canvas that its stop
/// rule ends, or its step limit, is left alone from there on.
class Course {
 public:
  virtual ~Course() = default;
  virtual int32_t num_canvases() const = 0;
  virtual int32_t num_steps(int32_t canvas_idx) const = 0;
  /// [L] fed in at a step, which is the canvas's length whatever the plan says; it lives as long as the course.
  virtual std::span<const int32_t> canvas(size_t row, int32_t canvas_idx, int32_t step_idx) const = 0;
};
/// Why a canvas ended whose course had no more steps.
inline constexpr const char* kCourseEnds = "recording_ends";

/// Generates all rows. In counter mode rows are independent; in torch mode they form one left-padded batch drawing
/// jointly from the generator seeded with rows[0].seed.
/// With a course the end token ends no sequence early, and samplers that verify causally are refused: their canvases are cut
/// where no recording knows.
/// Errors: usage (bad pins, canvas, ids); std::runtime_error naming canvas, step and position for logits that are NaN.
std::vector<RowResult> generate(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> rows,
                                Observer* observer = nullptr, const Course* course = nullptr);

}  // namespace canvaslab
