#pragma once
// Several data sets as one: joined(set(gpqa(file=a.csv), label=gpqa), set(aime(file=b.jsonl), label=aime, subset=10)).
// Items are label/id, their categories label or label/category. Each keeps its data set's draws and content keys, so that
// its samples are those that the data set has alone.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/dataset.h"

namespace canvaslab {

/// One of the data sets that are joined.
struct JoinedSet {
  std::string label;              ///< letters, digits, '_', '-', '.'
  std::string dataset;            ///< canonical plug-in text
  int64_t subset = 0;             ///< so many items, drawn by category (eval/subset.h); 0: all
  uint64_t subset_seed = 1;
};

/// The canonical text of data sets joined. An empty label becomes the data set's name.
/// Errors: usage for labels that cannot be or are used twice, and for joining what is joined already.
std::string joined_text(std::vector<JoinedSet> sets);

/// What a canonical text joins, in order; empty when it is a single data set.
std::vector<JoinedSet> joined_sets(const std::string& dataset);

/// Facts of a canonical text; of data sets joined what any of them needs, without files.
DatasetFacts facts_of_dataset(const std::string& dataset);

/// The content hash of the data set that items of `set` (Example::set) come from, as it is alone.
/// Errors: std::invalid_argument for a set that is not there.
std::string_view hash_of_set(std::string_view content_hash, std::string_view set);

}  // namespace canvaslab
