#pragma once
// Completions of other programs as a run of ours: graded, compared and exported like one.
#include <string>
#include <vector>

#include "eval/imported_lines.h"

namespace canvaslab {

struct ImportOptions {
  std::string dataset = {};         ///< plug-in text; empty: the file's own metric is the score, its ids are the items
  std::string tokenizer = {};       ///< tokenizer.json or its folder, for completions without token ids; empty: none
  std::string metric = {};          ///< which of the file's metrics is the score; empty: the only one, or exact_match, or acc
  std::string filter = {};          ///< only lines with this filter; empty: every filter becomes a configuration
  std::string id_field = {};        ///< see read_imported
  bool lower_is_better = false;
  std::string command_line = {};
};

struct ImportOutcome {
  size_t num_samples = 0, num_items = 0, num_failed = 0;
  std::string path, score_name;
  std::vector<std::string> configs, notes;
};

/// Writes `folder`/run.h5. Scores: the data set's where it has a quality and is given (tokens needed: from the file or the
/// tokenizer), else the file's metric. Where a data set grades, the filters of an item share one completion and are one sample.
/// Errors: usage when there is nothing to score by, the folder holds a run, or a choice names nothing; input as read_imported,
/// and for ids that the data set does not have.
ImportOutcome import_run(const std::string& file, const ImportOptions& options, const std::string& folder);

}  // namespace canvaslab
