#pragma once
// How far a sweep is: quality with its interval, speed, time left.
#include <string>
#include <vector>

#include "eval/statistics.h"

namespace canvaslab {

/// Sums that progress is computed from. Not thread-safe: the caller holds a lock.
class ProgressMeter {
 public:
  ProgressMeter(size_t total, size_t num_items, std::string score_name);
  /// A sample found in the journal counts for quality and completion, not for speed.
  void add_found(uint32_t item, double score);
  void add_run(uint32_t item, double score, double tokens, double forwards, bool control);
  void add_failed() { ++ran_, ++failed_; }

  size_t done() const { return found_ + ran_; }
  bool finished() const { return done() >= total_; }
  /// Mean score and its standard error over items (a configuration or a repeat is no independent sample).
  MeanError score() const;
  /// "120/300 samples  4.2/s  score 1.234 +- 0.012  3.10 tokens/forward  812 tokens/s  ETA 43 s"
  std::string text() const;
  /// One JSON object: done, total, failed, samples_per_second, score_name, score, score_standard_error, tokens_per_forward,
  /// tokens_per_second, eta_seconds; null where there is nothing to say yet.
  std::string json() const;

 private:
  size_t total_, found_ = 0, ran_ = 0, failed_ = 0;
  std::string score_name_;
  std::vector<double> score_sum_;
  std::vector<int64_t> score_count_;
  double tokens_ = 0, forwards_ = 0, begin_;
};

/// "43 s", "12 min", "3.4 h".
std::string duration_text(double seconds);

}  // namespace canvaslab
