#pragma once
// Our own file of a data set's rows: JSON lines that know where they come from and notice damage, so that runs need no
// Parquet. First line {"canvaslab_records": 1, "dataset", "source", "source_sha256"}; then the rows as they were, each with
// row_sha256; last line {"canvaslab_records_end": number of rows}.
#include <cstddef>
#include <string>

#include "core/json.h"

namespace canvaslab {

/// Follows a record file row by row.
class RecordReader {
 public:
  /// Whether an object is a record file's first line. Errors: input for another version.
  static bool is_header(const Json& line, const std::string& where);
  /// Checks a later line and takes the row's hash off. False: it was the last line.
  /// Errors: input when the row's hash is wrong, the count is, or something follows the last line.
  bool take(Json& line, const std::string& where);
  /// Errors: input when the last line never came.
  void finish(const std::string& path) const;

 private:
  size_t num_rows_ = 0;
  bool ended_ = false;
};

bool is_record_file(const std::string& path);

/// What a data file's content is known by: the SHA-256 (hex) of its bytes, or for a record file that of its source.
std::string data_identity(const std::string& path);

/// Writes a record file from any data file of a data set, after reading it whole as that data set. Returns the rows.
/// Errors: usage (no file data set, output exists), input.
size_t convert_to_records(const std::string& path, const std::string& dataset, const std::string& out);

}  // namespace canvaslab
