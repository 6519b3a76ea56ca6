#pragma once
// Which configurations are better than which, over several runs of one plan: training seeds, models, machines.
#include <optional>
#include <string>
#include <vector>

#include "eval/run_scores.h"

namespace canvaslab {

struct RankingOptions {
  std::optional<std::string> category;    ///< items of this category alone
  double alpha = 0.05;                    ///< chance of one false ranking in a whole run
};

struct RankedConfig {
  std::string settings;
  std::vector<double> quality;            ///< by run
  double mean = 0;                        ///< of these
  double tokens_per_forward = 0;          ///< mean over runs, as evaluation.md 5.1 defines it; of all items, whatever category is ranked
  size_t better_than = 0, worse_than = 0; ///< configurations, in every run
  bool front = false;                     ///< on the non-dominated set of quality and tokens per forward, in every run
};

struct Ranking {
  std::vector<RunScores> runs;
  std::string quality_name;
  bool higher_is_better = true;
  std::vector<RankedConfig> configs;      ///< the best mean first
  std::vector<std::vector<int>> order;    ///< [config][config]: 1 where the first is better in every run, -1 worse, 0 undecided
  size_t num_pairs = 0, num_agreed = 0;   ///< of two configurations; ranked alike in every run
  size_t num_opposite = 0;                ///< ranked one way in one run and the other way in another
};

/// Ranks every two configurations in every run: paired t over items (repeats and seeds of an item averaged first), two-sided, Holm over all pairs of the run; on a source the difference of
/// the divergences over its jackknife error. A ranking counts where all runs agree on it. Controls take no part. Only items that both configurations finished count.
/// Errors: usage when the runs differ in data, score or configurations, or a category has no items.
Ranking rank_runs(std::vector<RunScores> runs, const RankingOptions& options = {});

/// The ranking as a Markdown table with a line that says how it was made.
std::string ranking_markdown(const Ranking& ranking, const RankingOptions& options);

}  // namespace canvaslab
