#pragma once
// Accuracy and what went wrong, by configuration and category, read from a finished run.
#include <string>
#include <vector>

#include "core/h5.h"

namespace canvaslab {

struct CategoryRates {
  uint32_t config_idx = 0;
  std::string category;                    ///< "all" for the whole configuration, which comes first; where items have none: "(none)"; of joined data sets also their labels
  int64_t num_items = 0;                   ///< with a finished sample; items that ask the same thing count once
  double accuracy = 0, low = 0, high = 0;  ///< with its 95% interval
  double truncated = 0, no_answer = 0, thought_unclosed = 0, loop = 0;  ///< shares of items; NaN where the file lacks them
};

/// The data set as people read it: its text, or of data sets joined their labels.
std::string shown_dataset(const H5Reader& file);

/// Empty unless the data set is graded. Categories stand alone only where there is more than one.
std::vector<CategoryRates> category_rates(const H5Reader& file);

}  // namespace canvaslab
