#pragma once
// Two runs side by side: which settings differ, which items differ, how sure that is.
#include <optional>
#include <string>
#include <vector>

#include "eval/paired.h"
#include "eval/run_scores.h"

namespace canvaslab {

struct CompareOptions {
  std::vector<std::string> config_a, config_b;  ///< labels (find_config); all of A's with all of B's. Empty: equal settings
  uint64_t seed = 1;                            ///< of bootstrap and sign flips
  std::optional<double> margin;                 ///< test equivalence within this, in the score's unit
};

struct SettingDifference {
  std::string key, a, b;                        ///< "" where a side lacks the key
};

/// One configuration of A against one of B over the items both finished. Differences are B - A.
struct PairComparison {
  size_t config_a = 0, config_b = 0;
  std::vector<SettingDifference> settings;
  size_t num_items = 0;
  double mean_a = 0, mean_b = 0, difference = 0, standard_error = 0;
  Interval interval;                            ///< 95%, paired bootstrap over items
  bool binary = false;                          ///< scores 0/1, one sample an item: flips and McNemar; else sign flips
  Interval wilson_a, wilson_b;                  ///< when binary
  std::vector<std::string> only_a, only_b;      ///< when binary: items that only A, only B has at 1
  McNemar mcnemar;
  double p_value = 1, p_holm = 1;               ///< McNemar's exact or the sign flips'; Holm over all pairs compared
  std::optional<Equivalence> equivalence;
  std::optional<double> quality_difference, quality_error;  ///< of a divergence over all samples; jackknife over shared items
};

struct RunComparison {
  RunScores a, b;
  std::vector<std::string> notes;               ///< what a reader must know before trusting the numbers
  std::vector<PairComparison> pairs;
};

/// Errors: usage when the runs' data or scores differ, a label fits none or several, or nothing can be paired.
RunComparison compare_runs(RunScores a, RunScores b, const CompareOptions& options);

}  // namespace canvaslab
