#pragma once
// Stop rules: when a canvas is finished before its step limit.
#include <optional>
#include <string>
#include <vector>

#include "samplers/sampler.h"

namespace canvaslab {

/// What a stop rule may look back on, cleared at every new canvas.
struct StopHistory {
  std::vector<std::vector<int32_t>> argmax;  ///< argmax canvases of earlier steps of this canvas, oldest first, [i][L]
};

struct StopFacts {
  StatisticSet statistics;
  bool breaks_level = false;  ///< may end a canvas before its noise level reached clean
};

/// Checked after the sampler decided and before the decision is applied, on the same statistics.
class StopRule {
 public:
  virtual ~StopRule() = default;
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

/// Mean entropy of a step, nats.
double mean_entropy(const RowStatistics& statistics);
/// Whether the step's argmax canvas equals each of the last `count` ones; false while fewer exist; count 0: always.
bool argmax_stable(const RowStatistics& statistics, const StopHistory& history, int64_t count);

}  // namespace canvaslab
