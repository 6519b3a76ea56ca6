#include "eval/paired_quality.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/paired.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// P(at least `hits` heads in n throws): half of what the two-sided exact test gives, on the side of the larger count.
double sign_test(int64_t hits, int64_t misses) {
  if (hits <= misses) return 1;  // nothing points there
  return mcnemar_test(hits, misses).exact / 2;
}

OneSided student(double difference, double error, double degrees) {
  if (!std::isfinite(difference) || !(error > 0) || !(degrees > 0)) return {.difference = difference, .p_value = 1};
  return {.difference = difference, .p_value = student_t_cdf(-difference / error, degrees)};
}

}  // namespace

OneSided test_larger(double a, std::span<const double> left_out_a, double b, std::span<const double> left_out_b) {
  int64_t groups = 0;
  for (size_t g = 0; g < std::min(left_out_a.size(), left_out_b.size()); ++g) groups += !std::isnan(left_out_a[g] - left_out_b[g]);
  return student(a - b, paired_error(left_out_a, left_out_b), static_cast<double>(groups - 1));
}

QualityMeasure::QualityMeasure(const PreparedSweep& sweep)
    : sweep_(sweep), source_(sweep.dataset->wants_control() ? sweep.denoiser->source() : nullptr), law_(source_ ? source_->pair_law() : std::vector<double>{}) {
  const ScoreFacts facts = sweep.dataset->score_facts();
  higher_ = facts.higher_is_better;
  name_ = source_ ? "pair_divergence_nats" : facts.name;
  if (source_ && !source_->pairs_show_rule())
    throw usage_error("denoiser '{}' joins tokens that are no neighbours, and {} compares neighbours: it would drop the wrong candidates\nsuccessive halving needs a source such as hmm or markov, or a data set with answers", sweep.plan.denoiser, name_);
  if (!source_ && !facts.is_quality)
    throw usage_error("data set '{}' has no quality to judge by: its score is {} ({})\nsuccessive halving needs an exact source or a data set with answers", sweep.plan.dataset, facts.name, facts.unit);
}

std::string QualityMeasure::test_text() const {
  if (source_) return "Student's t on the difference of divergences over its delete-a-group jackknife error, groups of items left out of both";
  return "exact binomial on discordant items where scores are 0 or 1 and items have one sample (McNemar, one-sided), else paired t over items";
}

ConfigQuality QualityMeasure::measure(std::span<const SampleRecord> samples, uint32_t config, std::span<const uint32_t> items) const {
  ConfigQuality out;
  std::vector<std::span<const int32_t>> sequences;
  std::vector<uint32_t> places;
  for (const SampleRecord& sample : samples) {
    if (sample.config_idx != config || !sample.error.empty()) continue;
    const auto place = std::lower_bound(items.begin(), items.end(), sample.item_idx);
    if (place == items.end() || *place != sample.item_idx) continue;
    auto& at = out.items[sample.item_idx];
    at.score += sample.score;  // sums until all are there
    at.tokens_per_forward += sample.tokens_per_forward_report;
    at.count += 1;
    at.binary = at.binary && (sample.score == 0 || sample.score == 1);
    if (!source_) continue;
    sequences.emplace_back(sample.token_ids);
    places.push_back(static_cast<uint32_t>(place - items.begin()));
  }
  std::vector<double> scores, speeds;
  for (auto& [item, at] : out.items) {
    at.score /= static_cast<double>(at.count), at.tokens_per_forward /= static_cast<double>(at.count);
    scores.push_back(at.score), speeds.push_back(at.tokens_per_forward);
  }
  out.tokens_per_forward = mean_error(speeds).mean;
  if (source_) {
    const Divergence divergence = pair_divergence(sequences, places, law_, source_->vocabulary());
    out.quality = divergence.value, out.left_out = divergence.left_out;
  } else {
    out.quality = mean_error(scores).mean;
  }
  return out;
}

OneSided test_above(std::span<const double> differences) {
  const MeanError mean = mean_error(differences);
  if (mean.count == 0 || !std::isfinite(mean.mean)) return {.difference = mean.mean, .p_value = 1};
  // Equal differences have a spread of rounding errors only.
  if (mean.count > 1 && mean.standard_error > 1e-12 * std::abs(mean.mean)) return student(mean.mean, mean.standard_error, static_cast<double>(mean.count - 1));
  return {.difference = mean.mean, .p_value = mean.mean > 0 ? std::exp2(-static_cast<double>(mean.count)) : 1};
}

OneSided test_worse(const QualityMeasure& measure, const ConfigQuality& a, const ConfigQuality& b) {
  if (measure.is_divergence()) return test_larger(a.quality, a.left_out, b.quality, b.left_out);
  std::vector<double> differences;
  bool binary = true;
  int64_t only_a = 0, only_b = 0;  // items where a, where b is worse
  for (const auto& [item, left] : a.items) {
    const auto right = b.items.find(item);
    if (right == b.items.end()) continue;
    const double difference = left.score == right->second.score ? 0 : measure.higher_is_better() ? right->second.score - left.score : left.score - right->second.score;
    differences.push_back(difference);
    only_a += difference > 0, only_b += difference < 0;
    binary = binary && left.binary && right->second.binary && left.count == 1 && right->second.count == 1;
  }
  OneSided out = test_above(differences);
  if (binary) out.p_value = sign_test(only_a, only_b);
  return out;
}

OneSided test_faster(const ConfigQuality& a, const ConfigQuality& b) {
  std::vector<double> differences;
  for (const auto& [item, left] : a.items)
    if (const auto right = b.items.find(item); right != b.items.end()) differences.push_back(left.tokens_per_forward - right->second.tokens_per_forward);
  return test_above(differences);
}

}  // namespace canvaslab
