#pragma once
// The results file: derived from the journal, canonical, readable by h5py with no code of ours (results/README.md).
#include <string>
#include <vector>

#include "core/h5.h"
#include "eval/sample_rows.h"
#include "eval/sweep.h"

namespace canvaslab {

/// Raised when a reader of the results file would have to change.
inline constexpr int64_t kSchemaVersion = 1;

/// Attribute of /aggregates: why the quality may mislead; absent where it does not.
inline constexpr const char* kQualityCaveat = "quality_caveat";

/// SHA-256 (hex) over content keys and verdicts in row order: which samples a results file holds.
std::string samples_digest(const SampleRows& samples);

/// Whether a complete results file with exactly these samples is in place.
bool results_current(const std::string& path, const std::string& digest);

/// What only some runs have.
struct ResultsExtras {
  const HalvingRecord* halving = nullptr;                    ///< what successive halving decided
  const std::vector<std::string>* completions = nullptr;     ///< imported texts, one a sample
};

/// Writes the results file, a block of samples at a time. Names and rows depend on the plan only; what may differ between runs of
/// one plan carries attribute volatile = 1. Checked after writing, then renamed into place.
/// Errors: input when the file cannot be written or does not read back as meant.
void write_results(const PreparedSweep& sweep, const SampleRows& samples, const std::string& path, const SweepOptions& options,
                   const ResultsExtras& extras = {});

// --- parts of write_results, one group of the file each

/// /samples, /metrics, /canvases, /steps, /positions, /text.
void write_samples(H5Writer& file, const PreparedSweep& sweep, const SampleRows& samples);
/// /aggregates: one row per configuration.
void write_aggregates(H5Writer& file, const PreparedSweep& sweep, const SampleRows& samples);
/// /text/completion_bytes with row pointers from /samples.
void write_completions(H5Writer& file, const std::vector<std::string>& completions);
/// /search: tests, drops and confirmation of successive halving.
void write_halving(H5Writer& file, const HalvingPlan& plan, const HalvingRecord& record);
/// Marks a dataset as one that may differ between runs of one plan.
void mark_volatile(H5Writer& file, const std::string& name);

}  // namespace canvaslab
