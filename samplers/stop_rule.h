#pragma once
// Stop rules: when a canvas is finished before its step limit.
#include <optional>
#include <string>
#include <vector>

#include "samplers/sampler.h"

namespace canvaslab {

struct ForwardCounts {
  int64_t denoise = 0, verify = 0, unconditional = 0, append = 0, prefill = 0;
};

/// What a stop rule may look back on, cleared at every new canvas but for what the whole sequence has cost.
struct StopHistory {
  /// Argmax canvases of earlier steps of this canvas, oldest first, [i][L]. The engine writes it at every step, so that
  /// rules stay pure and a rule inside all_of or any_of sees every step, whatever its siblings said.
  std::vector<std::vector<int32_t>> argmax;
  /// num_taken of the same steps.
  std::vector<size_t> num_taken = {};
  /// num_at_argmax of the same steps.
  std::vector<size_t> num_at_argmax = {};
  /// Forwards of the sequence so far, this step's included, without those that follow a step (correctors, verification); and
  /// the positions that they ran over, without the prompt's.
  ForwardCounts forwards = {}, positions = {};
};

/// A rule that stops once the argmax canvas equals those of the last `stability` steps and the mean entropy is below `confidence`, nats.
struct StableStop {
  float confidence = 0;
  int32_t stability = 0;
};

struct StopFacts {
  StatisticSet statistics;
  bool breaks_level = false;  ///< may end a canvas before its noise level reached clean
};

/// Checked after the sampler decided and before the decision is applied, on the same statistics.
class StopRule {
 public:
  virtual ~StopRule() = default;
  /// The facts of this object, from those of its registry entry: what depends on parameters is settled here.
  virtual StopFacts refine(StopFacts declared) const { return declared; }
  /// This rule as a stable stop, where it is one (Outlook): it can then be tested where the network runs.
  virtual std::optional<StableStop> stable_stop() const { return std::nullopt; }
  /// The reason to stop, or nothing to go on. Pure.
  virtual std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision& decision,
                                           const StopHistory& history) const = 0;
};

using StopRegistry = Registry<StopRule, StopFacts>;
StopRegistry& stop_rules();

/// A stop rule with its canonical text; statistics include those of composed children.
struct ConfiguredStop {
  std::string canonical;
  StatisticSet statistics;
  bool breaks_level = false;
  std::unique_ptr<StopRule> rule;
};
ConfiguredStop configure_stop(const PluginExpr& expr);

// --- helpers shared by stop rules. Pinned positions do not count: their tokens are not the denoiser's to settle.

/// Positions that take a token at a step: candidate, argmax or one of the sampler's.
size_t num_taken(const StepView& view, const StepDecision& decision);
/// Positions that hold the step's argmax once the decision is applied; noise does not count.
size_t num_at_argmax(const StepView& view, const StepDecision& decision);
/// Mean entropy of a step, nats, in f32 as the reference's; 0 when every position is pinned.
float mean_entropy(const StepView& view);
/// Whether the step's argmax canvas equals `canvas` [L].
bool argmax_equals(const StepView& view, std::span<const int32_t> canvas);
/// Whether the step's argmax canvas equals each of the last `count` ones; false while fewer exist; count 0: always. The
/// first step that can satisfy it is therefore the one with index `count`.
bool argmax_stable(const StepView& view, const StopHistory& history, int64_t count);

}  // namespace canvaslab
