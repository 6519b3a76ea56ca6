#pragma once
// Looking at a data file before it is used: is it what it should be, where does it come from, under which terms.
#include <map>
#include <string>
#include <vector>

#include "eval/dataset.h"

namespace canvaslab {

/// What a data file turned out to be. Holds names and counts, and never a text of the file's rows.
struct DataReport {
  std::string path, dataset, sha256;
  int64_t num_bytes = 0, num_rows = 0;
  std::vector<std::string> columns;              ///< of the first row
  std::map<std::string, int64_t> categories;
  std::string known_as;                          ///< the published file with this many rows; empty: none
  std::vector<std::string> notes, problems;      ///< no problems: it can be used
};

/// The entry of a data set that is made of published files. Errors: usage, listing those.
const DatasetRegistry::Entry& file_dataset(const std::string& name);

/// Reads every row as the data set does. Returns the number of examples. Errors: what load() says.
size_t load_whole(const std::string& path, const std::string& dataset);

/// `dataset` may be empty: then the columns tell. Errors: input when the file cannot be read at all or fits no data set.
DataReport check_data_file(const std::string& path, const std::string& dataset);

}  // namespace canvaslab
