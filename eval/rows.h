#pragma once
// Data files as rows of named fields, whatever their format.
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/json.h"

namespace canvaslab {

/// One row of a data file.
struct DataRow {
  std::string where;  ///< "FILE:12: " (line) or "FILE: row 3: ", as JsonFields wants it
  Json fields;        ///< an object
  int64_t offset = -1;  ///< of the line's first byte in a file of JSON lines, unpacked; -1 elsewhere
};
using RowVisitor = std::function<void(const DataRow&)>;

/// Calls `visit` for every row, one at a time. The content says what it is: JSON lines (also gzipped), CSV (.csv), Parquet.
/// Errors: input naming file and line or row, what is wrong there and what to do.
void read_rows(const std::string& path, const RowVisitor& visit);

/// Single rows of a file of JSON lines. Safe to use from several threads.
class RowFile {
 public:
  explicit RowFile(std::string path);
  ~RowFile();
  /// The row that begins at this byte (DataRow::offset). A gzipped file has to be unpacked up to there, and from its beginning
  /// only when the row lies before the one read last. Errors: input; also when no object begins there (any more).
  DataRow at(int64_t offset);
  /// Bytes unpacked so far, those that were skipped over included.
  int64_t num_bytes_unpacked() const;

 private:
  class Reader;
  std::string path_;
  mutable std::mutex mutex_;
  std::unique_ptr<Reader> reader_;
};

/// Every column as text, none guessed to be a number or missing. RFC 4180: quotes doubled, line breaks inside quotes.
/// Errors: input for NUL bytes, quotes that begin or end inside a field, rows of another length, names used twice.
void read_csv_rows(const std::string& path, const RowVisitor& visit);

/// Numbers, texts, booleans, nulls and lists of them; structs as objects; binary as {"num_bytes": n}.
/// Errors: input; usage when the program was built without Arrow.
void read_parquet_rows(const std::string& path, const RowVisitor& visit);

}  // namespace canvaslab
