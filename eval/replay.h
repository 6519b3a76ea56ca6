#pragma once
// A recorded run decided again: other samplers, stop rules, temperatures or draws on the logits that were recorded.
#include <optional>
#include <string>
#include <vector>

#include "core/recorded_trace.h"
#include "samplers/engine.h"

namespace canvaslab {

/// What was asked for when the trace was recorded, every value given, and the seed. Errors: input when a setting is missing.
struct RecordedRequest {
  PlanRequest request;
  uint64_t seed = 0;
};
RecordedRequest recorded_request(const RecordedTrace& trace);

/// Positions at which a step was decided differently, on the recorded canvas and logits.
struct StepReplay {
  int32_t step_idx = 0;
  int32_t num_accepted_recorded = 0, num_accepted_replayed = 0;
  std::vector<int32_t> only_recorded, only_replayed;       ///< accepted by one of the two
  std::vector<int32_t> candidates, canvas_out;             ///< other tokens
  std::vector<int32_t> tokens_recorded, tokens_replayed;   ///< what stands at the positions of canvas_out
  bool differs() const { return !only_recorded.empty() || !only_replayed.empty() || !canvas_out.empty(); }
};

/// How a canvas ended: after how many steps, and why. `stop` is empty where the recording does not tell.
struct CanvasEnd {
  int32_t num_steps = 0;
  std::string stop;
};

struct CanvasReplay {
  int32_t canvas_idx = 0;
  CanvasEnd recorded, replayed;
  std::vector<StepReplay> steps;   ///< those that both decided
  bool ends_differ() const { return recorded.num_steps != replayed.num_steps || replayed.stop == kCourseEnds; }
};

/// Where two runs part: the first step whose canvas comes out differently, or after which only one of them goes on.
struct Parting {
  int32_t canvas_idx = 0, step_idx = 0;
  bool by_stop = false;
};

struct RowReplay {
  std::vector<CanvasReplay> canvases;
  std::optional<Parting> parting;
  std::vector<int32_t> tokens_recorded, tokens_replayed;   ///< the text emitted
  size_t num_tokens_differ = 0;                            ///< over the longer text
};

struct SettingReplay {
  std::string key, recorded, replayed;
};

struct ReplayReport {
  std::vector<std::pair<std::string, std::string>> settings;  ///< of the new run
  std::vector<SettingReplay> differing;
  std::vector<std::string> notes;                 ///< what the recording cannot answer
  /// The recorded configuration decided again: positions of candidates, accepted sets, canvases and text that come out
  /// otherwise than recorded; 0 shows that recording and program agree. Nothing when it cannot be decided again.
  std::optional<size_t> self_differences;
  std::vector<RowReplay> rows;
};

struct ReplayOptions {
  bool first_divergence = false;   ///< nothing is reported after a row's parting
};

/// Decides every recorded step again as `asked` and `seed` say. Each decision is taken on the recorded canvas and logits,
/// whatever was decided before; what a sampler remembers within a canvas is its own. Draws are those of the recording
/// where seed and generator are.
/// Errors: usage when the recording cannot serve the request (extra forwards, causal checks, other feedback, other canvas
/// lengths, joint draws of rows that drew alone), or the settings contradict each other.
ReplayReport replay(const RecordedTrace& trace, const PlanRequest& asked, uint64_t seed, const ReplayOptions& options = {});

}  // namespace canvaslab
