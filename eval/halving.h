#pragma once
// Successive halving: what runs next and who is dropped, as a pure function of finished samples.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/paired_quality.h"
#include "eval/sweep.h"

namespace canvaslab {

/// A test of one ordered pair: is `config` worse than `other`?
struct HalvingTest {
  uint32_t config = 0, other = 0;
  double difference = 0, p_worse = 1;  ///< quality, positive: `config` is worse
  double p_faster = 1;                 ///< that `config` is faster; at most kFasterLevel: it counts as faster
  bool drops = false;
};
/// Speed only protects from being dropped, so its tests are not adjusted: a false finding keeps a configuration.
inline constexpr double kFasterLevel = 0.05;

struct HalvingRound {
  int64_t num_items = 0;
  double level = 0;                    ///< a test drops at most at this p-value
  std::vector<uint32_t> candidates, dropped;
  std::vector<ConfigQuality> qualities;  ///< of the candidates
  std::vector<HalvingTest> tests;      ///< every ordered pair
};

struct Confirmation {
  uint32_t winner = 0;
  int64_t num_items = 0;
  struct Against {
    uint32_t config = 0;
    std::string role;                  ///< runner-up or reference
    double difference = 0, p_value = 1, p_holm = 1;  ///< positive: the winner is better
  };
  std::vector<Against> against;
  bool decided = false, confirmed = false;  ///< confirmed: better than each at level alpha after Holm
};

/// Everything a halving run decided.
struct HalvingRecord {
  std::vector<HalvingRound> rounds;
  std::optional<Confirmation> confirmation;  ///< set when the rounds are over, decided after its samples
  std::vector<uint32_t> survivors;
  std::string quality_name, test;      ///< what is judged, and how
};

/// Alpha is spent evenly: every one of the rounds x K (K - 1) one-sided tests that K candidates can meet has level
/// alpha / (rounds K (K - 1)), so that the chance of any false drop is at most alpha (Bonferroni; dropping looks at the data
/// of earlier rounds again, which this bound allows for).
double halving_level(const HalvingPlan& plan, size_t num_candidates);

/// Errors: usage when there are fewer than two candidates, too few items, or no quality to judge by.
void check_halving(const PreparedSweep& sweep);

/// Walks through rounds and confirmation. Between two calls of decide() the tasks() of the stage must be run.
class Halving {
 public:
  explicit Halving(const PreparedSweep& sweep);
  /// What the stage at hand needs, controls included; empty when all is decided.
  std::vector<SweepTask> tasks() const;
  /// Ends the stage. `samples` in any order; failed ones are left out of the tests.
  void decide(std::span<const SampleRecord> samples);
  const HalvingRecord& record() const { return record_; }

 private:
  void decide_round(std::span<const SampleRecord> samples);
  void choose_winner();
  void confirm(std::span<const SampleRecord> samples);
  const PreparedSweep& sweep_;
  const HalvingPlan& plan_;
  QualityMeasure measure_;
  HalvingRecord record_;
};

/// The tasks of a run in which nothing is dropped, with the costliest configurations in the confirmation.
std::vector<SweepTask> halving_worst_case(const PreparedSweep& sweep);

/// What the last decision was, in lines for a person: round, tests that dropped, survivors; or the confirmation.
std::string halving_text(const HalvingRecord& record, const PreparedSweep& sweep);

}  // namespace canvaslab
