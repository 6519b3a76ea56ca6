#pragma once
// The samples of a results file in row order, read a block at a time: a run of millions does not fit in memory.
#include <string>
#include <vector>

#include "eval/journal.h"

namespace canvaslab {

/// At most so many rows make a block; fewer where their records are large.
inline constexpr size_t kBlockRows = 65536;

/// Sorts by (config, item, repeat), the order of rows.
void sort_samples(std::vector<SampleRecord>& samples);

class SampleRows {
 public:
  /// Samples in memory, in any order.
  SampleRows(std::vector<SampleRecord> samples, size_t block_rows = kBlockRows);  // NOLINT: a list of samples is a set of rows
  /// Samples in a journal, in any order. The journal must stay as it is while the rows are read.
  /// Errors: input when it cannot be opened.
  SampleRows(const std::string& journal, std::vector<SampleRef> refs, size_t block_rows = kBlockRows);
  ~SampleRows();
  SampleRows(const SampleRows&) = delete;
  SampleRows& operator=(const SampleRows&) = delete;

  size_t size() const { return refs_.size(); }
  /// Row `row` without its record: rows are ordered by (config, item, repeat).
  const SampleRef& ref(size_t row) const { return refs_[row]; }
  /// The end of the block that begins at `begin`, at most `most`: some tens of megabytes in memory.
  size_t block_end(size_t begin, size_t most) const;
  /// Rows [begin, end). Errors: input when the journal no longer holds what it did.
  std::vector<SampleRecord> read(size_t begin, size_t end) const;

 private:
  std::vector<SampleRef> refs_;          // sorted
  std::vector<SampleRecord> samples_;    // as the refs, or empty: then they are in the journal
  std::string journal_;
  size_t block_rows_;
  int fd_ = -1;
};

}  // namespace canvaslab
