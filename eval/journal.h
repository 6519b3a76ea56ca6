#pragma once
// The append-only journal: the truth of a run. Frames of length, CRC32C, type, version; a torn tail is dropped.
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.h"
#include "samplers/engine.h"

namespace canvaslab {

/// What one denoising step leaves on record.
struct StepSummary {
  float temperature = 0, mean_entropy_nats = 0, max_entropy_nats = 0;
  int32_t num_accepted = 0, num_argmax_changed = 0;  ///< positions; changes against the previous step's argmax
};

/// Every position of every step, steps one after another: flat over the sum of L. Empty unless asked for.
/// The names are the trace file's.
struct PositionRecord {
  std::vector<int32_t> canvas_in, candidate, argmax, canvas_out;
  std::vector<uint8_t> accepted;
  std::vector<float> entropy_nats;
};

/// Forwards that wrote the tokens, append passes between canvases left out; where no canvas is denoised, those of the causal
/// mode. 0: nothing was generated (exact samples, imports, failures).
inline int64_t writing_forwards(const ForwardCounts& f) { return f.denoise > 0 ? f.denoise : f.verify + f.append; }

/// One finished (or failed) sample.
struct SampleRecord {
  uint32_t config_idx = 0, item_idx = 0, repeat = 0;
  uint64_t seed = 0;                      ///< repeat counts over seeds x repeats; this is the seed it fell under
  Sha256 content_key{};
  std::string error;                      ///< empty: success
  std::vector<int32_t> token_ids, canvas_ids;
  std::string stop_reason;
  std::vector<std::string> canvas_stop;
  std::vector<int32_t> steps_per_canvas, valid_per_canvas;
  std::vector<int32_t> length_per_canvas; ///< where a policy decides canvas lengths, else empty
  std::vector<StepSummary> steps;         ///< all canvases' steps in order
  PositionRecord positions;
  ForwardCounts forwards;
  PhaseSeconds seconds;
  double tokens_per_forward = 0, tokens_per_forward_report = 0;
  double score = 0;
  std::vector<double> metrics;            ///< further metrics in the data set's order
};

/// What stands as stop_reason of a sample that could not be generated. One that was generated but not graded has an error too,
/// and keeps all the rest: only its score is missing.
inline constexpr const char* kNothingGenerated = "error";
inline bool was_generated(const SampleRecord& sample) { return sample.stop_reason != kNothingGenerated; }

/// What a sample is and what went wrong, without what was generated.
SampleRecord failure_of(const SampleRecord& sample, const std::string& error);

/// Where a sample lies in its journal, and what a run must know of it without reading it again: a run of millions of
/// samples does not fit in memory.
struct SampleRef {
  uint32_t config_idx = 0, item_idx = 0, repeat = 0;
  bool failed = false;
  Sha256 content_key{};
  double score = 0;
  uint64_t payload_at = 0;                ///< byte in the journal
  uint32_t payload_bytes = 0;
};

SampleRef ref_to(const SampleRecord& sample, uint64_t payload_at, size_t payload_bytes);

std::string encode_sample(const SampleRecord& sample);
/// Errors: std::runtime_error when the payload does not decode.
SampleRecord decode_sample(std::string_view payload);

/// kName: what the run is called; no sample depends on it, so it is no part of the header.
enum class FrameType : uint16_t { kHeader = 1, kSample = 2, kName = 3 };

/// Opens (or creates) a journal for appending under an exclusive lock.
/// Errors: usage when another run holds the lock or the header belongs to another plan (the first line that differs is
/// named); input when a frame in the middle is damaged (a torn tail is cut off silently: that sample is run again).
class JournalWriter {
 public:
  /// `header` identifies the plan; it must equal an existing journal's header. `name` is kept for who reads the journal alone.
  JournalWriter(const std::string& path, const std::string& header, const std::string& name = "");
  ~JournalWriter();
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;
  /// Thread-safe. Written in one call; synced to disk at most a second later. Errors: input when the disk is full or fails.
  SampleRef append(const SampleRecord& sample);
  void sync();
  /// Samples that were in the journal when it was opened.
  const std::vector<SampleRef>& found() const { return found_; }
  std::vector<SampleRef> take_found() { return std::move(found_); }

 private:
  uint64_t write_frame(FrameType type, std::string_view payload);  // where the payload begins
  std::string path_;
  int fd_ = -1;
  std::mutex mutex_;
  double last_sync_ = 0;
  std::vector<SampleRef> found_;
};

struct JournalScan {
  std::string header;
  size_t valid_bytes = 0;   ///< up to the end of the last whole frame
  size_t file_bytes = 0;
  bool damaged = false;     ///< a bad frame with a whole one somewhere behind it: no torn tail, nothing may be cut off
};
/// The first line in which two plan headers differ, as a user should read it; "" when they are equal.
std::string first_difference(std::string_view before, std::string_view now);
/// A sample frame's payload as a record. Errors: input, naming the journal and the sample's number.
SampleRecord read_sample(const std::string& path, size_t number, std::string_view payload);
/// Reads a journal frame by frame. Memory does not grow with the file. Errors: input when it cannot be opened or is no journal.
JournalScan scan_journal(const std::string& path, const std::function<void(FrameType, std::string_view)>& visit);

}  // namespace canvaslab
