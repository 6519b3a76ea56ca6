#include "eval/plot_data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "core/h5.h"
#include "core/params.h"
#include "eval/run_scores.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// entropy_bound(entropy_bound=0.1) -> "entropy_bound 0.1"; constant(1) -> "1": names of values say nothing new here.
std::string short_name(const std::string& text) {
  if (text.empty()) return text;
  const PluginExpr expr = parse_plugin(text);
  std::string values;
  for (const auto& argument : expr.arguments) values += (values.empty() ? "" : ", ") + argument->text();
  if (expr.name == "constant") return values;
  return expr.name + (values.empty() ? "" : " ") + values;
}

/// Settings beside the sampler that differ between rows of one sampler: only those belong into a series' name.
std::vector<std::string> varying_settings(const std::map<std::string, std::vector<std::string>>& text, const std::vector<uint8_t>& control) {
  std::vector<std::string> out;
  for (const char* key : {"temperature", "emission", "stop", "self_conditioning"}) {
    std::map<std::string, std::set<std::string>> per_sampler;
    for (size_t c = 0; c < control.size(); ++c)
      if (!control[c]) per_sampler[text.at("sampler")[c]].insert(text.at(key)[c]);
    if (std::any_of(per_sampler.begin(), per_sampler.end(), [](const auto& entry) { return entry.second.size() > 1; })) out.push_back(key);
  }
  return out;
}

void collect_series(PlotRun& run) {
  run.series.clear();
  for (const auto& point : run.points)
    if (!point.control && std::find(run.series.begin(), run.series.end(), point.series) == run.series.end()) run.series.push_back(point.series);
}

/// Names the series; too many to tell apart are grouped by sampler, and samplers beyond the limit become "others".
void name_series(PlotRun& run, const H5Reader& file, const std::vector<uint8_t>& control) {
  std::map<std::string, std::vector<std::string>> text;
  for (const char* key : {"sampler", "temperature", "emission", "stop", "self_conditioning"}) text[key] = file.read_strings(std::string("config/") + key);
  const auto varying = varying_settings(text, control);
  const std::map<std::string, std::string> prefix = {{"temperature", "T "}, {"emission", "emit "}, {"stop", "stop "}, {"self_conditioning", "self-conditioning "}};
  for (size_t c = 0; c < run.points.size(); ++c) {
    run.points[c].series = short_name(text["sampler"][c]);
    for (const auto& key : varying)
      if (!control[c]) run.points[c].series += ", " + prefix.at(key) + short_name(text[key][c]);
  }
  collect_series(run);
  if (run.series.size() <= kMostSeries) return;
  run.grouped = true;
  for (size_t c = 0; c < run.points.size(); ++c) run.points[c].series = parse_plugin(text["sampler"][c]).name;
  collect_series(run);
  if (run.series.size() <= kMostSeries) return;
  const std::set<std::string> kept(run.series.begin(), run.series.begin() + kMostSeries - 1);
  for (auto& point : run.points)
    if (!kept.contains(point.series)) point.series = "other samplers";
  collect_series(run);
}

/// Mean accepted positions by step: steps -> canvases -> samples -> configuration.
void add_accepted(PlotRun& run, const H5Reader& file) {
  const auto step_canvas = file.read<uint64_t>("steps/canvas_row");
  const auto step_idx = file.read<int32_t>("steps/step_idx"), accepted = file.read<int32_t>("steps/num_accepted");
  const auto canvas_sample = file.read<uint64_t>("canvases/sample_idx");
  const auto config = file.read<uint32_t>("samples/config_idx");
  std::vector<std::vector<double>> number(run.points.size());
  for (size_t i = 0; i < step_idx.size(); ++i) {
    const auto c = config[canvas_sample[step_canvas[i]]];
    const auto k = static_cast<size_t>(step_idx[i]);
    auto& sum = run.points[c].accepted;
    if (sum.size() <= k) sum.resize(k + 1), number[c].resize(k + 1);
    sum[k] += accepted[i];
    number[c][k] += 1;
  }
  for (size_t c = 0; c < run.points.size(); ++c)
    for (size_t k = 0; k < number[c].size(); ++k) run.points[c].accepted[k] /= number[c][k];
}

/// kDetectable times the median standard error of paired differences between configurations of one canvas length. Of very
/// many pairs an even selection of a few thousand is taken.
double detectable_difference(const std::vector<PlotPoint>& points) {
  std::vector<std::pair<const PlotPoint*, const PlotPoint*>> pairs;
  for (size_t a = 0; a < points.size(); ++a)
    for (size_t b = a + 1; b < points.size() && a < 2000; ++b)
      if (!points[a].control && !points[b].control && points[a].canvas_length == points[b].canvas_length) pairs.emplace_back(&points[a], &points[b]);
  std::vector<double> errors;
  const size_t stride = pairs.size() / 4000 + 1;
  for (size_t i = 0; i < pairs.size(); i += stride) errors.push_back(paired_error(pairs[i].first->left_out, pairs[i].second->left_out));
  if (errors.empty()) return 0;
  std::nth_element(errors.begin(), errors.begin() + static_cast<ptrdiff_t>(errors.size() / 2), errors.end());
  return kDetectable * errors[errors.size() / 2];
}

void read_points(PlotRun& run, const H5Reader& file) {
  const auto column = [&](const std::string& name) { return file.read<double>("aggregates/" + name); };
  const auto quality = column(file.text_attribute("aggregates", "quality")), error = column(file.text_attribute("aggregates", "quality_standard_error"));
  const auto speed = column("tokens_per_denoiser_forward_mean"), speed_error = column("tokens_per_denoiser_forward_standard_error");
  const auto report = column("tokens_per_forward_report_mean"), score = column("score_mean"), score_error = column("score_standard_error");
  const auto used = column("steps_per_canvas_mean"), limit = column("step_limit_frac"), left_out = column("quality_left_out");
  const auto entropy = run.divergence ? column("output_entropy_nats") : std::vector<double>(quality.size());
  const auto bias = run.divergence ? column("pair_divergence_plugin_bias_nats") : std::vector<double>(quality.size());
  const auto count = file.read<int64_t>("aggregates/num_samples"), failed = file.read<int64_t>("aggregates/num_failed");
  const auto length = file.read<int32_t>("config/canvas_length"), steps = file.read<int32_t>("config/num_steps");
  const auto control = file.read<uint8_t>("config/control");
  const auto settings = file.read_strings("config/settings");
  for (size_t c = 0; c < quality.size(); ++c) {
    const auto group = left_out.begin() + static_cast<ptrdiff_t>(c * kJackknifeGroups);
    run.points.push_back({.series = "", .settings = settings[c], .canvas_length = length[c], .num_steps = steps[c], .control = control[c] != 0,
                          .count = count[c], .failed = failed[c], .speed = speed[c], .speed_error = speed_error[c], .speed_report = report[c],
                          .quality = quality[c], .quality_error = error[c], .bias = bias[c], .score = score[c], .score_error = score_error[c],
                          .output_entropy = entropy[c], .steps_used = used[c], .limit_frac = limit[c],
                          .left_out = std::vector<double>(group, group + kJackknifeGroups), .accepted = {}});
  }
  name_series(run, file, control);
}

}  // namespace

PlotRun read_plot_run(const std::string& run_path) {
  const H5Reader file = open_results(run_path);
  PlotRun out;
  out.path = file.path();
  out.name = file.text_attribute("/", "name");
  out.denoiser = file.text_attribute("/", "denoiser");
  out.dataset = file.text_attribute("/", "dataset");
  out.seeds = file.text_attribute("/", "seeds");
  out.program = fmt::format("{}, commit {}", file.text_attribute("/", "program"), file.text_attribute("/", "commit").substr(0, 12));
  out.plan = file.read_strings("run/plan")[0];
  out.command_line = file.read_strings("run/command_line")[0];
  out.divergence = file.text_attribute("aggregates", "quality") == "pair_divergence_nats";
  out.quality_label = out.divergence ? "token-pair divergence from the exact law (nats)" : "agreement with the reference (fraction of positions)";
  std::string score = file.text_attribute("samples/score", "quality_name");
  std::replace(score.begin(), score.end(), '_', ' ');
  out.score_label = fmt::format("{} ({})", score, file.text_attribute("samples/score", "unit"));
  if (out.divergence) {
    out.entropy_rate = file.real_attribute("aggregates", "source_entropy_rate_nats");
    out.pair_entropy = file.real_attribute("aggregates", "source_pair_entropy_nats");
  }
  read_points(out, file);
  add_accepted(out, file);
  out.detectable = detectable_difference(out.points);
  return out;
}

std::string plot_caption(const PlotRun& run) {
  int64_t least = INT64_MAX, most = 0;
  for (const auto& point : run.points) {
    least = std::min(least, point.count);
    most = std::max(most, point.count);
  }
  std::string out = fmt::format("{}; {}; seed {}; {} samples a point. Bars: 95% intervals (delete-a-group jackknife over items).", run.denoiser, run.dataset, run.seeds,
                                least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most));
  if (run.detectable > 0)
    out += fmt::format(" Paired differences of {:.2g} can be resolved (two-sided 5%, power 80%): {:.2f} times the median standard error of differences between two "
                       "configurations of one canvas length over the same items.", run.detectable, kDetectable);
  if (run.divergence) {
    double bias = 0;
    for (const auto& point : run.points) bias = std::max(bias, point.control ? point.bias : 0);
    out += fmt::format(" A finite sample of the exact law itself is not at 0 (plug-in bias, about {:.2g} for independent pairs): the control shows where it is.", bias);
  }
  if (run.grouped) out += " Many configurations: one colour a sampler, settings in the report's table.";
  return out;
}

}  // namespace canvaslab
