#include "eval/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/json.h"

namespace canvaslab {
namespace {
double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
}  // namespace

std::string duration_text(double seconds) {
  if (seconds < 100) return fmt::format("{:.0f} s", seconds);
  if (seconds < 100 * 60) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

ProgressMeter::ProgressMeter(size_t total, size_t num_items, std::string score_name)
    : total_(total), score_name_(std::move(score_name)), score_sum_(num_items), score_count_(num_items), begin_(now_seconds()) {}

void ProgressMeter::add_found(uint32_t item, double score) {
  ++found_;
  score_sum_[item] += score;
  ++score_count_[item];
}

void ProgressMeter::add_run(uint32_t item, double score, double tokens, double forwards, bool control) {
  ++ran_;
  score_sum_[item] += score;
  ++score_count_[item];
  if (control) return;  // exact samples cost no forwards
  tokens_ += tokens;
  forwards_ += forwards;
}

MeanError ProgressMeter::score() const {
  std::vector<double> means;
  for (size_t i = 0; i < score_sum_.size(); ++i)
    if (score_count_[i] > 0) means.push_back(score_sum_[i] / static_cast<double>(score_count_[i]));
  return mean_error(means);
}

std::string ProgressMeter::json() const {
  const double elapsed = std::max(1e-9, now_seconds() - begin_), rate = static_cast<double>(ran_) / elapsed;
  const MeanError mean = score();
  const auto when = [](bool known, double value) { return known && std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); };
  return json_text(OrderedJson{{"done", done()}, {"total", total_}, {"failed", failed_}, {"samples_per_second", when(ran_ > 0, rate)}, {"score_name", score_name_},
                               {"score", when(mean.count > 0, mean.mean)}, {"score_standard_error", when(mean.count > 1, mean.standard_error)},
                               {"tokens_per_forward", when(forwards_ > 0, tokens_ / forwards_)}, {"tokens_per_second", when(forwards_ > 0, tokens_ / elapsed)},
                               {"eta_seconds", when(rate > 0, static_cast<double>(total_ - std::min(total_, done())) / rate)}});
}

std::string ProgressMeter::text() const {
  const double elapsed = std::max(1e-9, now_seconds() - begin_), rate = static_cast<double>(ran_) / elapsed;
  std::string line = fmt::format("{}/{} samples", done(), total_);
  if (failed_ > 0) line += fmt::format("  {} failed", failed_);
  if (ran_ > 0) line += fmt::format("  {:.1f}/s", rate);
  if (const MeanError mean = score(); mean.count > 0) line += fmt::format("  {} {:.3f} +- {:.3f}", score_name_, mean.mean, kZ95 * mean.standard_error);
  if (forwards_ > 0) line += fmt::format("  {:.2f} tokens/forward  {:.0f} tokens/s", tokens_ / forwards_, tokens_ / elapsed);
  if (rate > 0 && !finished()) line += "  ETA " + duration_text(static_cast<double>(total_ - std::min(total_, done())) / rate);
  return line;
}

}  // namespace canvaslab
