#pragma once
// Grading the stored tokens of a finished run again, with the graders of today or another rule.
#include <string>
#include <vector>

#include "eval/merge.h"
#include "eval/sweep.h"

namespace canvaslab {

/// A sample whose score is not what it was.
struct ScoreChange {
  uint32_t config_idx = 0, item_idx = 0, repeat = 0;
  double before = 0, now = 0;
};

struct Regraded {
  std::vector<SampleRecord> samples;   ///< in row order, under the content keys of the new sweep
  std::vector<ScoreChange> changes;    ///< of scores
  size_t metric_changes = 0;           ///< samples in which some metric differs; 0 where the metrics are others
  size_t recovered = 0;                ///< samples that were generated but could not be graded when they ran
  size_t failed = 0;                   ///< samples that could not be generated: they hold no tokens and stay failed
};

/// `sweep` is the journal's plan with whatever data set now grades it. Tokens, steps and times are kept.
/// Errors: usage when configurations, items or prompts are not those of the run.
Regraded regrade(const PreparedSweep& sweep, const ShardJournal& journal);

}  // namespace canvaslab
