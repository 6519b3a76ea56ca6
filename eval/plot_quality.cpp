#include "eval/plot_quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/paired.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// Whether every finished score is a verdict, 0 or 1.
bool binary_scores(const PlotSamples& samples) {
  for (size_t i = 0; i < samples.size(); ++i)
    if (!samples.failed[i] && samples.score[i] != 0 && samples.score[i] != 1) return false;
  return true;
}

std::vector<std::string> qualities(const H5Reader& file) {
  std::vector<std::string> out;
  if (file.has("aggregates/pair_divergence_nats")) out.push_back("divergence");
  if (file.has("aggregates/agreement_mean")) out.push_back("agreement");
  out.push_back("score");
  for (const auto& metric : file.names("metrics")) out.push_back(metric);
  return out;
}

std::string automatic(const H5Reader& file, const PlotSamples& samples) {
  const std::string named = file.text_attribute("aggregates", "quality");
  if (named == "pair_divergence_nats") return "divergence";
  return named != "agreement_mean" || binary_scores(samples) || !file.has("aggregates/agreement_mean") ? "score" : "agreement";
}

/// Of the aggregates' own quality the file holds the jackknife's values.
void read_aggregate(PlotRun& run, const H5Reader& file, const std::string& value, const std::string& error) {
  const auto quality = file.read<double>("aggregates/" + value), errors = file.read<double>("aggregates/" + error);
  const bool stored = file.text_attribute("aggregates", "quality") == value;
  const auto left_out = stored ? file.read<double>("aggregates/quality_left_out") : std::vector<double>{};
  for (size_t c = 0; c < run.points.size(); ++c) {
    PlotPoint& point = run.points[c];
    point.quality = quality[c], point.quality_error = errors[c];
    point.quality_low = quality[c] - kZ95 * errors[c], point.quality_high = quality[c] + kZ95 * errors[c];
    point.left_out = std::vector<double>(kJackknifeGroups, NAN);
    if (stored) std::copy_n(left_out.begin() + static_cast<ptrdiff_t>(c * kJackknifeGroups), kJackknifeGroups, point.left_out.begin());
  }
}

/// Verdicts of single samples get Wilson's interval, anything else the normal one over items.
void read_scores(PlotRun& run, const PlotSamples& samples, const std::vector<double>& column) {
  const auto items = item_values(samples, [&](size_t i) { return column[i]; });
  std::vector<size_t> finished(samples.num_configs, 0);
  bool verdicts = true;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples.failed[i]) continue;
    ++finished[samples.config[i]];
    verdicts = verdicts && (column[i] == 0 || column[i] == 1);
  }
  for (size_t c = 0; c < run.points.size(); ++c) verdicts = verdicts && finished[c] == items[c].values.size();
  for (size_t c = 0; c < run.points.size(); ++c) {
    PlotPoint& point = run.points[c];
    const MeanError mean = mean_error(items[c].values);
    point.quality = mean.count > 0 ? mean.mean : NAN, point.quality_error = mean.standard_error;
    point.quality_low = point.quality - kZ95 * mean.standard_error, point.quality_high = point.quality + kZ95 * mean.standard_error;
    point.left_out = left_out_means(items[c].values, items[c].items);
    if (!verdicts || mean.count == 0) continue;
    const Interval wilson = wilson_interval(std::llround(mean.mean * static_cast<double>(mean.count)), mean.count);
    point.quality_low = wilson.low, point.quality_high = wilson.high;
  }
  run.interval_label = verdicts ? "Wilson, over items" : "normal, over items; repeats of an item averaged first";
}

}  // namespace

std::string plain_words(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

void read_quality(PlotRun& run, const H5Reader& file, const PlotSamples& samples, const std::string& quality) {
  const auto known = qualities(file);
  const std::string name = canonical_name(quality) == "auto" ? automatic(file, samples) : canonical_name(quality);
  if (std::find(known.begin(), known.end(), name) == known.end())
    throw usage_error("--quality {}: {} has none of that name{}\nexpected auto, {}", quality, file.path(), did_you_mean(name, known), joined(known));
  run.quality_name = name;
  if (name == "divergence") {
    run.divergence = true;
    run.quality_label = "token-pair divergence from the exact law (nats)";
    run.interval_label = "delete-a-group jackknife over items";
    return read_aggregate(run, file, "pair_divergence_nats", "pair_divergence_standard_error");
  }
  run.lengths_comparable = true;
  if (name == "agreement") {
    run.more_is_better = true;
    run.quality_label = "agreement with the reference (fraction of positions)";
    run.interval_label = "normal, over items; repeats of an item averaged first";
    return read_aggregate(run, file, "agreement_mean", "agreement_standard_error");
  }
  const std::string path = name == "score" ? "samples/score" : "metrics/" + name;
  run.more_is_better = file.integer_attribute(path, "higher_is_better") != 0;
  run.quality_label = fmt::format("{} ({})", plain_words(file.text_attribute(path, "quality_name")), file.text_attribute(path, "unit"));
  read_scores(run, samples, file.read<double>(path));
}

}  // namespace canvaslab
