#pragma once
// A trace file of `generate --trace FILE --trace-logits`, opened for reading.
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/denoiser.h"
#include "core/h5.h"
#include "core/json.h"

namespace canvaslab {

/// The only schema of trace files so far.
inline constexpr int64_t kTraceSchema = 1;

/// Everything but the logits is read at once; logits come step by step. Thread-safe.
/// Errors: input when the file is no trace, of another schema, damaged, or holds no logits (saying how to record them).
class RecordedTrace {
 public:
  explicit RecordedTrace(const std::string& path);

  /// What one sequence left on record: S steps of canvases of L tokens.
  struct Steps {
    std::vector<int32_t> canvas_idx, step_idx;                      // [S]
    std::vector<int32_t> canvas_in, candidate, argmax, canvas_out;  // [S, L]
    std::vector<uint8_t> accepted;                                  // [S, L]
    std::vector<int32_t> canvas_length;                             ///< [S] positions that are real; the rest, up to L, is filling
    std::map<std::pair<int32_t, int32_t>, size_t> entry;            ///< (canvas, step) -> index along S
    size_t size() const { return canvas_idx.size(); }
    int32_t num_canvases() const { return canvas_idx.empty() ? 0 : canvas_idx.back() + 1; }
    int32_t num_steps(int32_t canvas) const;                        ///< of one canvas
    int32_t num_tokens() const;                                     ///< of all canvases
    size_t length(size_t step) const { return static_cast<size_t>(canvas_length[step]); }
  };

  const std::string& path() const { return file_.path(); }
  size_t num_rows() const { return rows_.size(); }
  /// The rows drew jointly from one stream of numbers (torch mode): they share their steps.
  bool joint() const { return joint_; }
  size_t length() const { return length_; }  ///< L, of the longest canvas where lengths differ
  const Steps& steps(size_t row) const { return rows_[row]; }
  /// Logits [canvas length, V] that the denoiser gave for a step, before the temperature.
  std::vector<float> logits(size_t row, size_t step) const;
  /// The text that came out, as `generate` gives it: without the prompt, the end token kept, trailing pads removed.
  std::vector<int32_t> tokens(size_t row) const;
  /// Everything the run was resolved to, by setting.
  const Json& config() const { return config_; }
  /// Positions after the prompt whose tokens were given.
  const std::map<int64_t, int32_t>& pins() const { return pins_; }
  /// What the recorded denoiser was: vocabulary, corruption (uniform where the file, written by an earlier version, does
  /// not say), whether it reads the level; lengths, end and pad ids as defaults.
  const DenoiserFacts& facts() const { return facts_; }

 private:
  std::string group(size_t row) const;
  void check_kind() const;
  void read_rows();
  void read_config();
  void read_lengths();
  Steps read_steps(size_t row) const;
  void check_ids() const;

  H5Reader file_;
  bool grouped_ = false, joint_ = false;
  size_t length_ = 0;
  std::vector<Steps> rows_;
  Json config_;
  std::map<int64_t, int32_t> pins_;
  DenoiserFacts facts_;
  mutable std::mutex mutex_;  // the HDF5 library is not re-entrant
};

}  // namespace canvaslab
