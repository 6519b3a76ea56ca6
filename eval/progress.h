#pragma once
// How far a sweep is: quality with its interval, speed, time left; over all and for every configuration.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "eval/statistics.h"

namespace canvaslab {

struct PreparedSweep;
struct SampleRecord;

/// Sums that progress is computed from. Not thread-safe: the caller holds a lock.
class ProgressMeter {
 public:
  explicit ProgressMeter(const PreparedSweep& sweep);
  /// Samples wanted by now, by configuration. What was added beyond it does not count as done.
  void expect(const std::map<uint32_t, size_t>& planned);
  /// A sample found in the journal counts for quality and completion, not for this run's speed.
  void add_found(const SampleRecord& sample);
  void add_run(const SampleRecord& sample);

  size_t done() const;
  size_t total() const;
  bool finished() const { return done() >= total(); }
  /// Mean score and its standard error over items (a configuration or a repeat is no independent sample).
  MeanError score() const;
  /// What is still to run, every configuration's expected tokens at its own pace, over the samples that run side by side;
  /// absent while nothing is known.
  std::optional<double> eta_seconds() const;
  /// "120/300 samples  ETA 43 s  4.2/s  3.10 tokens/forward  812 tokens/s  score 1.234 +- 0.012": what a narrow terminal must show comes first.
  std::string text() const;
  /// One JSON object: done, total, failed, samples_per_second, score_name, score, score_standard_error, tokens_per_forward,
  /// tokens_per_second, eta_seconds; null where there is nothing to say yet.
  std::string json() const;

  /// One configuration so far.
  struct Config {
    bool control = false;
    size_t done = 0, planned = 0, failed = 0;
    double tokens = 0, forwards = 0, seconds = 0;          ///< seconds: of generating, threads one after another
    std::map<uint32_t, std::pair<double, double>> scores;  ///< by item: sum, count
    std::vector<PairCounts> pairs;                         ///< by jackknife group, on a source with a small alphabet
  };
  const std::vector<Config>& configs() const { return configs_; }
  /// Its quality: on a source (alphabets up to kMostPairTokens) the divergence from the exact law, else the mean score.
  MeanError quality(const Config& config) const;
  const std::string& quality_name() const { return quality_name_; }
  static constexpr int32_t kMostPairTokens = 64;

 private:
  void add(const SampleRecord& sample);
  std::string score_name_, quality_name_;
  std::vector<double> law_;               // [V, V] or empty
  int32_t vocabulary_ = 0;
  std::vector<Config> configs_;
  std::vector<double> score_sum_;         // by item
  std::vector<int64_t> score_count_;
  size_t ran_ = 0, failed_ = 0;
  double tokens_ = 0, forwards_ = 0, busy_ = 0, begin_;  // of this run
};

/// "43 s", "12 min", "3.4 h".
std::string duration_text(double seconds);

}  // namespace canvaslab
