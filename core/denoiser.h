#pragma once
// The denoiser: what turns a noisy canvas into per-position distributions. Knows nothing of samplers.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/philox.h"
#include "core/registry.h"
#include "core/row_statistics.h"

namespace canvaslab {

class Source;

/// A prompt as a denoiser takes it. Media come later through `media`, without a new interface.
struct Prompt {
  struct Media {
    int32_t first = 0, count = 0;   ///< positions of its soft tokens in `ids`
    std::vector<float> rows;        ///< [count, D] projected embeddings
  };
  std::vector<int32_t> ids;            // [P]
  std::vector<uint8_t> token_types;    // [P] or empty: 0 text, 1 image, 2 video, 3 audio
  std::vector<Media> media;
  int32_t left_padding = 0;            ///< pad tokens before ids; they only shift positions
};

/// Parameter values a denoiser (generation_config.json, or an exact source) suggests; absent ones are left to others.
struct DenoiserDefaults {
  std::optional<std::string> temperature;        ///< schedule text
  std::optional<std::string> emission;           ///< "argmax" or "canvas"
  std::optional<int32_t> num_steps;
  std::optional<int32_t> canvas_length;
  std::optional<int32_t> max_new_tokens;
  std::vector<int32_t> end_ids;
  int32_t pad_id = 0;
  /// Parameters for plug-ins of these names, e.g. {"entropy_bound", "entropy_bound", "0.1"}.
  struct PluginValue {
    std::string plugin, key, value;
  };
  std::vector<PluginValue> plugin_values;
};

/// What a denoiser is, fixed at its making.
struct DenoiserFacts {
  int32_t vocabulary = 0;
  bool absorbing = false;              ///< corruption: absorbing with mask_id, else uniform over the vocabulary
  int32_t mask_id = -1;
  std::vector<int32_t> banned_ids;     ///< never drawn as noise
  bool uses_level = false;             ///< reads StepRequest::noise_level
  bool has_causal_mode = false;        ///< append can return causal logits
  bool self_conditioning = false;      ///< feeds the previous prediction back
  std::string runs_on = {};            ///< empty: the CPU; else what its results depend on beside the dtype, such as "cuda"
  bool runs_ahead = false;             ///< makes use of StepRequest::outlook
  bool carries_steps = false;          ///< a step's answer depends on the canvases of steps before it
  int64_t max_length = 0;              ///< prompt plus canvases; 0 = unlimited
  int32_t unconditional_forwards = 0;  ///< forwards of contexts without the prompt, beside every one with it
  int32_t unconditional_prefills = 0;  ///< the same for the prefill
  DenoiserDefaults defaults;
};

/// What a denoiser keeps for one row: committed context, the last prediction, left padding.
class Sequence {
 public:
  virtual ~Sequence() = default;
  virtual std::unique_ptr<Sequence> fork() const = 0;  ///< an independent copy
};

/// How the previous prediction is fed back.
enum class SelfConditioning { kNone, kPrevious, kGiven };

/// How a canvas is going to be decided: candidates accepted in rising order of entropy while those before them stay under a joint bound, noise elsewhere, a stop test on the argmax canvas and the mean
/// entropy. Told at a canvas's first step to denoisers that can take the steps after it before they are asked for. It binds nobody: every step is asked for and decided as without it.
struct Outlook {
  std::span<const float> temperatures;  // [steps of the canvas]
  std::span<const float> bounds;        // [steps of the canvas] nats
  std::span<const uint8_t> allowed;     // [L] 0: pinned, takes nothing and uses up no bound
  float confidence = 0;                 ///< stops when the mean entropy of the others is below, nats
  int32_t stability = 0;                ///< ... and so many argmax canvases before were equal
};

/// One row's request: everything its step depends on.
struct StepRequest {
  int32_t canvas_idx = 0;
  int32_t step_idx = 0;                      ///< counts up from 0
  std::span<const int32_t> canvas;           // [L]
  float temperature = 1;                     ///< of candidates and statistics
  StatisticSet wanted;
  std::optional<DrawKey> draw_key;           ///< present: candidates are drawn inside the fused pass
  std::optional<double> noise_level;         ///< survival probability of a clean token in this canvas, [0, 1]
  std::span<const uint8_t> revealed;         // [L] or empty; 1 = the sampler calls it final (absorbing denoisers)
  SelfConditioning self_conditioning = SelfConditioning::kPrevious;
  std::span<const float> given_logits;       // [L, V] tempered logits, for kGiven
  bool hold_prediction = false;              ///< leave the stored prediction as it is (a frozen row)
  bool want_logits = false;
  LogitFilters filters = {};                 ///< which tokens candidates (and statistics) see
  std::span<const float> previous_logits = {};  // [L, V] of the step before, for Statistic::kDivergence; empty at the first
  const Outlook* outlook = nullptr;          ///< what is known of the steps to come, or null; lives during the call
  /// What of this the statistics pass needs.
  StatisticsRequest statistics_request() const {
    return {.temperature = temperature, .wanted = wanted, .canvas = canvas, .draw_key = draw_key, .filters = filters, .previous_logits = previous_logits};
  }
};

struct StepResult {
  RowStatistics statistics;
  std::vector<float> logits;  // [L, V] f32 after the soft-cap, before the temperature; empty unless wanted
};

struct DenoiseRow {
  Sequence* sequence = nullptr;
  StepRequest request;
};

/// One denoiser forward. Thread-safe for distinct sequences. One row's result never depends on its batch mates.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  virtual const DenoiserFacts& facts() const = 0;
  /// Encodes a prompt. Errors: ids outside [0, vocabulary).
  virtual std::unique_ptr<Sequence> prefill(const Prompt& prompt) const = 0;
  /// Rows may be at different steps. Results in row order.
  virtual std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const = 0;
  /// Commits a finished canvas; afterwards there is no stored prediction. With want_causal_logits returns [L, V]: row i
  /// holds the logits of the token that follows canvas[0..i] and all before it; NaN behind tokens of probability 0.
  virtual std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const = 0;
  /// Causal logits [V] of the token that follows the context; empty when they can only be had from append.
  virtual std::vector<float> next_logits(const Sequence& /*sequence*/) const { return {}; }
  /// The sequence `before` with only the first tokens, `kept`, of those that were appended to it to give `after`: a cut
  /// cache, no forward. Null when the denoiser cannot; the tokens are then appended anew.
  virtual std::unique_ptr<Sequence> cut(const Sequence& /*before*/, const Sequence& /*after*/, std::span<const int32_t> /*kept*/) const { return nullptr; }
  /// The exact source behind this denoiser, or null for networks.
  virtual const Source* source() const { return nullptr; }
  /// Hash of what the results depend on (weights, tables), part of the content key.
  virtual std::string content_hash() const = 0;
};

/// Base of denoisers that only know how to give logits: statistics are derived from them, row by row.
class LogitsDenoiser : public Denoiser {
 public:
  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const final;

 protected:
  /// Logits [L, V] of one row.
  virtual std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const = 0;
};

struct NoFacts {};
using DenoiserRegistry = Registry<Denoiser, NoFacts>;
/// All denoisers that can be written as name(key=value, ...).
DenoiserRegistry& denoisers();
/// The parameter that names a denoiser inside another one.
ParamSpec inner_denoiser_param(std::string name, std::string doc);

/// Checks that ids lie in [0, vocabulary); `what` names the list in the error.
void check_token_ids(std::span<const int32_t> ids, int32_t vocabulary, const std::string& what);

}  // namespace canvaslab
