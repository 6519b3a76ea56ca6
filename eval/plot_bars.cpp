// Bars: scores by category, steps that canvases took, reasons they stopped for.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "eval/paired.h"
#include "eval/plot_figures.h"
#include "eval/plot_quality.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

constexpr size_t kMostCategories = 20, kMostBarsOfSteps = 64;

size_t series_of(const PlotRun& run, size_t config) {
  return static_cast<size_t>(std::find(run.series.begin(), run.series.end(), run.points[config].series) - run.series.begin());
}

/// Configuration of every canvas whose sample belongs to one of `configs`, else none.
struct CanvasCounts {
  std::map<size_t, std::map<uint32_t, double>> steps;         ///< by configuration and number of steps
  std::map<size_t, std::map<uint8_t, double>> stops;          ///< by configuration and reason
  std::map<size_t, double> total;
};
CanvasCounts count_canvases(const std::vector<size_t>& configs, const PlotSamples& samples, const PlotHistory& history) {
  std::vector<uint8_t> wanted(samples.num_configs, 0);
  for (const size_t c : configs) wanted[c] = 1;
  CanvasCounts out;
  for (size_t i = 0; i < history.canvas_sample.size(); ++i) {
    const uint32_t c = samples.config[history.canvas_sample[i]];
    if (!wanted[c]) continue;
    out.steps[c][history.canvas_steps[i]] += 1;
    out.stops[c][history.canvas_stop[i]] += 1;
    out.total[c] += 1;
  }
  return out;
}

struct CategoryScore {
  double mean = NAN, low = NAN, high = NAN;
};

/// Verdicts of single samples get Wilson's interval, anything else the normal one over items.
CategoryScore category_score(const std::vector<double>& values, bool verdicts) {
  const MeanError mean = mean_error(values);
  if (mean.count == 0) return {};
  if (!verdicts) return {mean.mean, mean.mean - kZ95 * mean.standard_error, mean.mean + kZ95 * mean.standard_error};
  const Interval wilson = wilson_interval(std::llround(mean.mean * static_cast<double>(mean.count)), mean.count);
  return {mean.mean, wilson.low, wilson.high};
}

/// Of each series at each canvas length the configuration with the best quality.
std::vector<size_t> best_configs(const PlotRun& run) {
  std::map<std::pair<int32_t, size_t>, size_t> best;
  for (size_t c = 0; c < run.points.size(); ++c) {
    const PlotPoint& point = run.points[c];
    if (point.control || !std::isfinite(point.quality)) continue;
    const auto [at, fresh] = best.try_emplace({point.canvas_length, series_of(run, c)}, c);
    const double before = run.points[at->second].quality;
    if (!fresh && (run.more_is_better ? point.quality > before : point.quality < before)) at->second = c;
  }
  std::vector<size_t> out;
  for (const auto& [key, c] : best) out.push_back(c);
  return out;
}

}  // namespace

std::optional<Figure> parts_figure(const PlotRun& run, const H5Reader& file, const PlotSamples& samples, const std::string& column) {
  if (!file.has("items/" + column)) return std::nullopt;
  const auto of_item = file.read_strings("items/" + column);
  const std::string part = column == "data_set" ? "data set" : "category";
  std::map<std::string, size_t> count;
  for (const auto& category : of_item)
    if (!category.empty()) ++count[category];
  if (count.empty()) return std::nullopt;
  std::vector<std::string> names;
  for (const auto& [name, n] : count) names.push_back(name);
  if (names.size() > kMostCategories) {
    std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return count[a] > count[b]; });
    names.resize(kMostCategories);
    std::sort(names.begin(), names.end());
  }
  const auto scores = item_values(samples, [&](size_t i) { return samples.score[i]; });
  std::vector<size_t> finished(samples.num_configs, 0);
  bool verdicts = true;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples.failed[i]) continue;
    ++finished[samples.config[i]];
    verdicts = verdicts && (samples.score[i] == 0 || samples.score[i] == 1);
  }
  for (size_t c = 0; c < samples.num_configs; ++c) verdicts = verdicts && finished[c] == scores[c].values.size();

  const auto configs = best_configs(run);
  Figure out;
  out.stem = "score_by_" + column;
  out.title = "Score by " + part;
  out.series = run.series;
  out.key = KeyShape::kBox;
  out.y.label = run.score_label;
  out.columns = 1;
  out.panel_width = std::clamp(34.0 * static_cast<double>(names.size() * run.series.size()), 620.0, 1100.0);
  out.panel_height = 300;
  out.x.tick_angle = names.size() > 5 ? 35 : 0;
  out.caption = fmt::format("{}; {}. Of each series the step limit with the best quality. In brackets: items. Bars: {}.{}", run.denoiser, run.dataset,
                            verdicts ? "95% Wilson intervals" : "95% normal intervals over items, repeats averaged first",
                            count.size() > names.size() ? fmt::format(" The {} largest of {}.", names.size(), count.size()) : "");
  for (size_t k = 0; k < names.size(); ++k) out.x.ticks.emplace_back(static_cast<double>(k), fmt::format("{} ({})", names[k], count[names[k]]));
  if (out.x.tick_angle == 0) out.x.label = part + " (items)";
  out.x.range = {-0.6, static_cast<double>(names.size()) - 0.4};
  for (const int32_t length : run.canvas_lengths(configs)) {
    Panel panel;
    panel.title = fmt::format("canvas length {}", length);
    const double width = 0.84 / static_cast<double>(run.series.size());
    for (const size_t c : configs) {
      if (!run.points[c].stands_at(length)) continue;
      const size_t series = series_of(run, c);
      std::map<std::string, std::vector<double>> values;
      for (size_t i = 0; i < scores[c].items.size(); ++i) values[of_item.at(scores[c].items[i])].push_back(scores[c].values[i]);
      for (size_t k = 0; k < names.size(); ++k) {
        const CategoryScore score = category_score(values[names[k]], verdicts);
        if (!std::isfinite(score.mean)) continue;
        const double left = static_cast<double>(k) - 0.42 + width * static_cast<double>(series);
        panel.boxes.push_back({.series = series, .x_low = left + 0.06 * width, .x_high = left + 0.94 * width, .y_low = 0, .y_high = score.mean});
        panel.whiskers.push_back({.x = left + width / 2, .y = score.mean, .x_low = left + width / 2, .x_high = left + width / 2, .y_low = score.low, .y_high = score.high});
      }
    }
    out.panels.push_back(std::move(panel));
  }
  return out;
}

Figure step_histogram_figure(const PlotRun& run, const PlotSamples& samples, const PlotHistory& history) {
  const auto configs = longest_configs(run);
  const auto counts = count_canvases(configs, samples, history);
  const auto lengths = run.canvas_lengths(configs);
  uint32_t most = 1;
  for (const auto& [c, by_steps] : counts.steps) most = std::max(most, by_steps.rbegin()->first);
  const uint32_t bin = (most + kMostBarsOfSteps - 1) / kMostBarsOfSteps;
  Figure out;
  out.stem = "steps_histogram";
  out.title = "Steps that canvases took (each series at its largest step limit)";
  out.caption = fmt::format("{}; {}. Share of canvases{}.", run.denoiser, run.dataset, bin > 1 ? fmt::format("; a bar holds {} step counts", bin) : "");
  out.key = KeyShape::kBox;
  out.x.label = "denoising steps of a canvas";
  out.y.label = "share of canvases";
  out.panel_height = 200;
  out.y.range = {0, 1.03};
  out.x.range = {0, static_cast<double>(most + bin)};
  for (const int32_t length : lengths) out.series.push_back(fmt::format("canvas length {}", length));
  for (const auto& series : run.series) {
    Panel panel;
    panel.title = series;
    for (size_t l = 0; l < lengths.size(); ++l)
      for (const auto& [c, by_steps] : counts.steps) {
        if (run.points[c].series != series || run.points[c].by_token || run.points[c].canvas_length != lengths[l]) continue;
        std::map<uint32_t, double> bins;
        for (const auto& [steps, number] : by_steps) bins[(std::max(steps, 1u) - 1) / bin] += number;
        const double width = 0.86 * bin / static_cast<double>(lengths.size());
        for (const auto& [k, number] : bins) {
          const double left = 1 + static_cast<double>(k) * bin - 0.43 + width * static_cast<double>(l);
          panel.boxes.push_back({.series = l, .x_low = left, .x_high = left + width, .y_low = 0, .y_high = number / counts.total.at(c)});
        }
      }
    out.panels.push_back(std::move(panel));
  }
  return out;
}

Figure stop_reason_figure(const PlotRun& run, const PlotSamples& samples, const PlotHistory& history) {
  const auto configs = longest_configs(run);
  const auto counts = count_canvases(configs, samples, history);
  std::vector<uint8_t> used;
  for (const auto& [c, by_reason] : counts.stops)
    for (const auto& [reason, number] : by_reason)
      if (std::find(used.begin(), used.end(), reason) == used.end()) used.push_back(reason);
  std::sort(used.begin(), used.end());
  Figure out;
  out.stem = "stop_reasons";
  out.title = "Why canvases stopped (each series at its largest step limit)";
  out.caption = fmt::format("{}; {}. Shares of canvases; step limit: no stop rule had spoken before.", run.denoiser, run.dataset);
  out.key = KeyShape::kBox;
  out.x.label = "share of canvases";
  out.x.range = {0, 1};
  size_t longest = 0;
  for (size_t s = 0; s < run.series.size(); ++s) {
    out.y.ticks.emplace_back(static_cast<double>(s), run.series[s]);
    longest = std::max(longest, run.series[s].size());
  }
  out.left = 40 + 8.0 * static_cast<double>(longest);
  out.y.range = {-0.6, static_cast<double>(run.series.size()) - 0.4};
  out.y.reversed = true;
  out.panel_height = 34 + 30 * static_cast<double>(run.series.size());
  for (const uint8_t reason : used) out.series.push_back(reason < history.stop_names.size() ? plain_words(history.stop_names[reason]) : "unknown");
  for (const int32_t length : run.canvas_lengths(configs)) {
    Panel panel;
    panel.title = fmt::format("canvas length {}", length);
    for (const auto& [c, by_reason] : counts.stops) {
      if (!run.points[c].stands_at(length)) continue;
      const auto row = static_cast<double>(series_of(run, c));
      double left = 0;
      for (size_t k = 0; k < used.size(); ++k) {
        const auto found = by_reason.find(used[k]);
        if (found == by_reason.end()) continue;
        const double share = found->second / counts.total.at(c);
        panel.boxes.push_back({.series = k, .x_low = left, .x_high = left + share, .y_low = row - 0.32, .y_high = row + 0.32});
        left += share;
      }
    }
    out.panels.push_back(std::move(panel));
  }
  return out;
}

}  // namespace canvaslab
