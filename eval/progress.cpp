#include "eval/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/json.h"
#include "eval/sweep.h"

namespace canvaslab {
namespace {

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double busy_seconds(const SampleRecord& sample) { return sample.seconds.prefill + sample.seconds.denoise + sample.seconds.append; }

}  // namespace

std::string duration_text(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  if (seconds < 100 * 60) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

ProgressMeter::ProgressMeter(const PreparedSweep& sweep)
    : score_name_(sweep.dataset->score_facts().name), quality_name_(score_name_), configs_(sweep.plan.configs.size()), score_sum_(sweep.examples.size()), score_count_(sweep.examples.size()),
      begin_(now_seconds()) {
  for (size_t c = 0; c < configs_.size(); ++c) configs_[c].control = sweep.plan.configs[c].control;
  const Source* source = sweep.dataset->wants_control() ? sweep.denoiser->source() : nullptr;
  if (!source || source->vocabulary() > kMostPairTokens) return;
  quality_name_ = "divergence (nats)";
  law_ = source->pair_law(), vocabulary_ = source->vocabulary();
}

void ProgressMeter::expect(const std::map<uint32_t, size_t>& planned) {
  for (const auto& [config, count] : planned) configs_[config].planned = count;
}

void ProgressMeter::add(const SampleRecord& sample) {
  Config& at = configs_[sample.config_idx];
  ++at.done;
  if (!sample.error.empty()) {
    ++at.failed;
    return;
  }
  score_sum_[sample.item_idx] += sample.score;
  ++score_count_[sample.item_idx];
  auto& [sum, count] = at.scores[sample.item_idx];
  sum += sample.score, count += 1;
  if (!law_.empty()) {
    if (at.pairs.empty()) at.pairs.assign(kJackknifeGroups, PairCounts(vocabulary_));
    at.pairs[sample.item_idx % kJackknifeGroups].add(sample.token_ids);
  }
  if (at.control) return;
  at.tokens += static_cast<double>(sample.token_ids.size());
  at.forwards += static_cast<double>(writing_forwards(sample.forwards));
  at.seconds += busy_seconds(sample);
}

void ProgressMeter::add_found(const SampleRecord& sample) { add(sample); }

void ProgressMeter::add_run(const SampleRecord& sample) {
  add(sample);
  ++ran_;
  failed_ += !sample.error.empty();
  if (!sample.error.empty() || configs_[sample.config_idx].control) return;
  tokens_ += static_cast<double>(sample.token_ids.size());
  forwards_ += static_cast<double>(writing_forwards(sample.forwards));
  busy_ += busy_seconds(sample);
}

size_t ProgressMeter::done() const {
  size_t out = 0;
  for (const Config& config : configs_) out += std::min(config.done, config.planned);
  return out;
}

size_t ProgressMeter::total() const {
  size_t out = 0;
  for (const Config& config : configs_) out += config.planned;
  return out;
}

MeanError ProgressMeter::score() const {
  std::vector<double> means;
  for (size_t i = 0; i < score_sum_.size(); ++i)
    if (score_count_[i] > 0) means.push_back(score_sum_[i] / static_cast<double>(score_count_[i]));
  return mean_error(means);
}

MeanError ProgressMeter::quality(const Config& config) const {
  if (!config.pairs.empty()) {
    const Divergence divergence = pair_divergence(config.pairs, law_);
    return {.mean = divergence.value, .standard_error = divergence.standard_error, .count = static_cast<int64_t>(config.scores.size())};
  }
  std::vector<double> means;
  for (const auto& [item, sum] : config.scores) means.push_back(sum.first / sum.second);
  return mean_error(means);
}

std::optional<double> ProgressMeter::eta_seconds() const {
  const double elapsed = now_seconds() - begin_;
  if (ran_ == 0 || !(elapsed > 0)) return std::nullopt;
  double samples = 0, seconds = 0;
  for (const Config& config : configs_)
    if (!config.control) samples += static_cast<double>(config.done - config.failed), seconds += config.seconds;
  double left = 0;  // seconds of one thread
  for (const Config& config : configs_) {
    const auto open = static_cast<double>(config.planned - std::min(config.done, config.planned));
    const double finished = static_cast<double>(config.done - config.failed);
    if (config.control || open == 0 || samples == 0) continue;
    left += open * (finished > 0 ? config.seconds / finished : seconds / samples);  // one that has not begun: as the others on average
  }
  if (!(busy_ > 0)) return static_cast<double>(total() - done()) * elapsed / static_cast<double>(ran_);
  return left * elapsed / busy_;  // busy over elapsed: so many run side by side
}

std::string ProgressMeter::json() const {
  const double elapsed = std::max(1e-9, now_seconds() - begin_), rate = static_cast<double>(ran_) / elapsed;
  const MeanError mean = score();
  const std::optional<double> eta = eta_seconds();
  const auto when = [](bool known, double value) { return known && std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); };
  return json_text(OrderedJson{{"done", done()}, {"total", total()}, {"failed", failed_}, {"samples_per_second", when(ran_ > 0, rate)}, {"score_name", score_name_},
                               {"score", when(mean.count > 0, mean.mean)}, {"score_standard_error", when(mean.count > 1, mean.standard_error)},
                               {"tokens_per_forward", when(forwards_ > 0, tokens_ / forwards_)}, {"tokens_per_second", when(forwards_ > 0, tokens_ / elapsed)},
                               {"eta_seconds", when(eta.has_value(), eta.value_or(0))}});
}

std::string ProgressMeter::text() const {
  const double elapsed = std::max(1e-9, now_seconds() - begin_), rate = static_cast<double>(ran_) / elapsed;
  std::string line = fmt::format("{}/{} samples", done(), total());
  if (failed_ > 0) line += fmt::format("  {} failed", failed_);
  if (const auto eta = eta_seconds(); eta && !finished()) line += "  ETA " + duration_text(*eta);
  if (ran_ > 0) line += fmt::format("  {:.1f}/s", rate);
  if (forwards_ > 0) line += fmt::format("  {:.2f} tokens/forward  {:.0f} tokens/s", tokens_ / forwards_, tokens_ / elapsed);
  if (const MeanError mean = score(); mean.count > 0) line += fmt::format("  {} {:.3f} +- {:.3f}", score_name_, mean.mean, kZ95 * mean.standard_error);
  return line;
}

}  // namespace canvaslab
