#pragma once
// Is one configuration worse than another? One-sided paired tests on quality and on speed (evaluation.md 1.6).
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "eval/sweep.h"

namespace canvaslab {

/// What one configuration did on a set of items, failed samples left out.
struct ConfigQuality {
  struct Item {
    double score = 0, tokens_per_forward = 0;  ///< means over finished repeats; as evaluation.md 5.1 defines the latter
    int64_t count = 0;
    bool binary = true;                        ///< all scores 0 or 1
  };
  std::map<uint32_t, Item> items;              ///< by item index
  double quality = 0;                          ///< divergence in nats on a source, else mean score
  std::vector<double> left_out;                ///< on a source: the divergence without each jackknife group
  double tokens_per_forward = 0;               ///< mean over items
};

/// Quality on a source is the divergence of all its token pairs from the exact law; elsewhere the score of each item.
/// Errors: usage when the data set has neither.
class QualityMeasure {
 public:
  explicit QualityMeasure(const PreparedSweep& sweep);
  /// `items` in ascending order; groups of the jackknife are places in it modulo 20.
  ConfigQuality measure(std::span<const SampleRecord> samples, uint32_t config, std::span<const uint32_t> items) const;
  /// How tests are made, in one line.
  std::string test_text() const;
  bool higher_is_better() const { return !source_ && higher_; }
  const std::string& name() const { return name_; }
  bool is_divergence() const { return source_ != nullptr; }

 private:
  const PreparedSweep& sweep_;
  const Source* source_;
  std::vector<double> law_;
  bool higher_;
  std::string name_;
};

struct OneSided {
  double difference = 0;   ///< positive: in the direction asked about
  double p_value = 1;      ///< 1 where nothing can be tested
};

/// Is divergence `a` larger than `b`? Student's t of their difference over its jackknife error, from the values with each group of items left out of both.
OneSided test_larger(double a, std::span<const double> left_out_a, double b, std::span<const double> left_out_b);

/// Is `a` worse than `b`? On a source: the difference of the divergences over its jackknife error (groups of items left out of
/// both), Student's t. Scores 0/1 of single samples: exact binomial on discordant items (one-sided McNemar). Other scores:
/// paired t over items. Infinite scores cannot be tested.
OneSided test_worse(const QualityMeasure& measure, const ConfigQuality& a, const ConfigQuality& b);

/// Is `a` faster than `b`, in tokens per forward? Paired t over items.
OneSided test_faster(const ConfigQuality& a, const ConfigQuality& b);

/// One-sided paired t: is the mean above 0? Equal differences leave no spread to judge by: the sign test then, 2^-n.
OneSided test_above(std::span<const double> differences);

}  // namespace canvaslab
