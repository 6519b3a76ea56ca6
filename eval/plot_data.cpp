#include "eval/plot_data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "core/h5.h"
#include "core/params.h"
#include "eval/category_rates.h"
#include "eval/pareto.h"
#include "eval/plot_quality.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

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
    run.points[c].series = short_plugin_name(text["sampler"][c]);
    for (const auto& key : varying)
      if (!control[c]) run.points[c].series += ", " + prefix.at(key) + short_plugin_name(text[key][c]);
  }
  if (file.has("config/canvas_policy")) {
    const auto policy = file.read_strings("config/canvas_policy");
    for (size_t c = 0; c < std::min(policy.size(), run.points.size()); ++c)
      if (!policy[c].empty()) run.points[c].series += ", canvases " + short_plugin_name(policy[c]);
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
void add_accepted(PlotRun& run, const PlotSamples& samples, const PlotHistory& history) {
  std::vector<std::vector<double>> number(run.points.size());
  for (size_t i = 0; i < history.step_idx.size(); ++i) {
    const auto c = samples.config[history.canvas_sample[history.step_canvas[i]]];
    const auto k = static_cast<size_t>(history.step_idx[i]);
    auto& sum = run.points[c].accepted;
    if (sum.size() <= k) sum.resize(k + 1), number[c].resize(k + 1);
    sum[k] += history.step_accepted[i];
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

/// Within a canvas length, or over all where qualities at different lengths are on one scale.
void mark_non_dominated(PlotRun& run) {
  std::map<int32_t, std::vector<size_t>> groups;
  for (size_t c = 0; c < run.points.size(); ++c)
    if (!run.points[c].control) groups[run.lengths_comparable ? 0 : run.points[c].canvas_length].push_back(c);
  for (const auto& [length, members] : groups) {
    std::vector<Judged> judged;
    for (const size_t c : members) judged.push_back({run.points[c].x, run.points[c].quality});
    const auto kept = non_dominated(judged, run.x.more_is_better, run.more_is_better);
    for (size_t i = 0; i < members.size(); ++i) run.points[members[i]].non_dominated = kept[i] != 0;
  }
}

void read_points(PlotRun& run, const H5Reader& file) {
  const auto column = [&](const std::string& name) { return file.read<double>("aggregates/" + name); };
  const auto speed = column("tokens_per_denoiser_forward_mean"), speed_error = column("tokens_per_denoiser_forward_standard_error");
  const auto report = column("tokens_per_forward_report_mean"), score = column("score_mean"), score_error = column("score_standard_error");
  const auto used = column("steps_per_canvas_mean"), limit = column("step_limit_frac");
  const auto entropy = file.has("aggregates/output_entropy_nats") ? column("output_entropy_nats") : std::vector<double>(speed.size(), NAN);
  const auto bias = file.has("aggregates/pair_divergence_plugin_bias_nats") ? column("pair_divergence_plugin_bias_nats") : std::vector<double>(speed.size(), 0);
  const auto count = file.read<int64_t>("aggregates/num_samples"), failed = file.read<int64_t>("aggregates/num_failed");
  const auto length = file.read<int32_t>("config/canvas_length"), steps = file.read<int32_t>("config/num_steps");
  const auto control = file.read<uint8_t>("config/control");
  const auto settings = file.read_strings("config/settings");
  for (size_t c = 0; c < speed.size(); ++c) {
    const MeanError& x = run.x.values[c];
    PlotPoint point{};
    point.settings = settings[c], point.canvas_length = length[c], point.num_steps = steps[c], point.control = control[c] != 0;
    point.count = count[c], point.failed = failed[c], point.speed = speed[c], point.speed_error = speed_error[c], point.speed_report = report[c];
    point.x = x.count > 0 ? x.mean : NAN, point.x_error = x.standard_error;
    point.bias = bias[c], point.score = score[c], point.score_error = score_error[c], point.output_entropy = entropy[c], point.steps_used = used[c], point.limit_frac = limit[c];
    run.points.push_back(std::move(point));
  }
  name_series(run, file, control);
}

/// Configurations whose samples have causal forwards but no denoising ones.
void mark_token_writers(PlotRun& run, const PlotSamples& samples) {
  std::vector<double> denoised(run.points.size()), written(run.points.size());
  for (size_t i = 0; i < samples.size(); ++i) denoised[samples.config[i]] += samples.denoise[i], written[samples.config[i]] += samples.append[i] + samples.verify[i];
  for (size_t c = 0; c < run.points.size(); ++c) run.points[c].by_token = !run.points[c].control && denoised[c] == 0 && written[c] > 0;
}

}  // namespace

std::vector<int32_t> PlotRun::canvas_lengths(const std::vector<size_t>& configs) const {
  std::vector<int32_t> out;
  for (const bool by_token : {false, true}) {
    for (const size_t c : configs)
      if (!points[c].control && points[c].by_token == by_token) out.push_back(points[c].canvas_length);
    if (!out.empty()) break;
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

PlotRun read_plot_run(const H5Reader& file, const PlotSamples& samples, const PlotHistory& history, const PlotChoice& choice) {
  PlotRun out;
  out.path = file.path();
  out.name = file.text_attribute("/", "name");
  out.denoiser = file.text_attribute("/", "denoiser");
  out.dataset = shown_dataset(file);
  out.seeds = file.text_attribute("/", "seeds");
  out.program = fmt::format("{}, commit {}", file.text_attribute("/", "program"), file.text_attribute("/", "commit").substr(0, 12));
  out.plan = file.read_strings("run/plan")[0];
  out.command_line = file.read_strings("run/command_line")[0];
  out.score_label = fmt::format("{} ({})", plain_words(file.text_attribute("samples/score", "quality_name")), file.text_attribute("samples/score", "unit"));
  out.x = plot_axis(choice.x, samples);
  read_points(out, file);
  mark_token_writers(out, samples);
  read_quality(out, file, samples, choice.quality);
  if (out.divergence) {
    out.entropy_rate = file.real_attribute("aggregates", "source_entropy_rate_nats");
    out.pair_entropy = file.real_attribute("aggregates", "source_pair_entropy_nats");
  }
  add_accepted(out, samples, history);
  mark_non_dominated(out);
  out.detectable = detectable_difference(out.points);
  return out;
}

std::string short_plugin_name(const std::string& text) {
  if (text.empty()) return text;
  const PluginExpr expr = parse_plugin(text);
  std::string values;
  for (const auto& argument : expr.arguments) values += (values.empty() ? "" : ", ") + argument->text();
  if (expr.name == "constant") return values;
  return expr.name + (values.empty() ? "" : " ") + values;
}

std::vector<size_t> longest_configs(const PlotRun& run) {
  std::map<std::pair<int32_t, std::string>, size_t> best;
  for (size_t c = 0; c < run.points.size(); ++c) {
    const PlotPoint& point = run.points[c];
    if (point.control) continue;
    const auto [at, fresh] = best.try_emplace({point.canvas_length, point.series}, c);
    if (!fresh && point.num_steps > run.points[at->second].num_steps) at->second = c;
  }
  std::vector<size_t> out;
  for (const auto& [key, c] : best) out.push_back(c);
  std::sort(out.begin(), out.end());
  return out;
}

std::string plot_caption(const PlotRun& run) {
  int64_t least = INT64_MAX, most = 0;
  for (const auto& point : run.points) {
    least = std::min(least, point.count);
    most = std::max(most, point.count);
  }
  std::string out = fmt::format("{}; {}; seed {}; {} samples a point. Bars: 95% intervals ({}).", run.denoiser, run.dataset, run.seeds,
                                least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most), run.interval_label);
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
