#include "eval/plot.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "core/embedded_models.h"
#include "core/error.h"
#include "core/text/tokenizer.h"
#include "eval/plot_figures.h"
#include "eval/plot_training.h"
#include "eval/report.h"
#include "eval/run_scores.h"

namespace canvaslab {
namespace {

/// Folder of the figures and what their names begin with; `results` is the run's file.
std::string figure_prefix(const PlotRequest& request, const std::string& results) {
  const auto run_dir = std::filesystem::absolute(results).parent_path();
  const std::string folder = !request.out_dir.empty() ? request.out_dir : (run_dir / "plots").string();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", folder, error.message());
  return folder + "/" + (request.runs.size() > 1 && !request.out_dir.empty() ? run_dir.filename().string() + "-" : "");
}

/// Means of the recorded steps, a configuration a series: its largest step limit and canvas length.
std::vector<ConfigMeans> recorded_means(const PlotRun& run, const H5Reader& file, const RecordedSteps& recorded) {
  std::vector<ConfigMeans> out;
  const auto longest = longest_configs(run);
  for (const auto& series : run.series) {
    std::optional<size_t> best;
    for (const size_t c : longest)
      if (run.points[c].series == series && (!best || run.points[c].canvas_length > run.points[*best].canvas_length)) best = c;
    if (!best) continue;
    StepMeans means = step_means(file, recorded, static_cast<uint32_t>(*best));
    if (means.canvases > 0) out.push_back({*best, std::move(means)});
  }
  return out;
}

bool shows_anything(const Figure& figure) {
  return std::any_of(figure.panels.begin(), figure.panels.end(), [](const Panel& panel) {
    const bool lines = std::any_of(panel.lines.begin(), panel.lines.end(), [](const auto& line) { return !line.second.empty(); });
    return lines || !panel.boxes.empty() || panel.heat.has_value();
  });
}

/// Pairs asked for by label, or two runs' equal settings.
std::optional<Figure> discordance(const PlotRequest& request, const std::string& run, PlotOutcome& outcome) {
  const bool asked = !request.config_a.empty() || !request.config_b.empty();
  if (!asked && (request.runs.size() != 2 || run != request.runs[0])) return std::nullopt;
  const std::string& other = request.runs.size() == 2 ? request.runs[1] : run;
  if (asked && request.runs.size() > 2) throw usage_error("--config-a and --config-b compare configurations of one run or of two; {} runs were given", request.runs.size());
  if (asked && run != request.runs[0]) return std::nullopt;
  try {
    return discordance_figure(compare_runs(read_run_scores(run), read_run_scores(other), {.config_a = request.config_a, .config_b = request.config_b, .seed = 1, .margin = {}}));
  } catch (const UserError& error) {
    if (asked) throw;
    outcome.notes.push_back(fmt::format("no discordance plot: {}", error.what()));
    return std::nullopt;
  }
}

/// What tokens read: by the tokenizer asked for, or the one in the model's folder.
TokenText token_text(const PlotRequest& request, const std::string& name) {
  const std::string model = model_folder(name);
  std::error_code ignored;
  const bool in_model = request.tokenizer.empty() && std::filesystem::exists(model + "/tokenizer.json", ignored);
  if (request.tokenizer.empty() && !in_model) return {};
  const auto tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(in_model ? model : request.tokenizer));
  return [tokenizer](int32_t id) { return tokenizer->decode(std::span(&id, 1)); };
}

void plot_traces(const PlotRequest& request, PlotOutcome& outcome) {
  EmbeddedTrajectories embedded;
  add_traces(embedded, request.traces);
  const std::string prefix = figure_prefix(request, request.traces[0]);
  const std::string settings = embedded.list[0].settings, key = "model=";
  const std::string model = settings.starts_with(key) ? settings.substr(key.size(), settings.find("; ") - key.size()) : "";
  outcome.written.push_back(prefix + "report.html");
  write_report(outcome.written.back(), nullptr, {}, embedded, token_text(request, model));
}

/// The log of a training, if `path` is one or a folder with one (and no run).
std::optional<std::string> training_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::path(path).filename() == "training.h5") return path;
  if (std::filesystem::exists(path + "/training.h5", ignored) && !std::filesystem::exists(path + "/run.h5", ignored)) return path + "/training.h5";
  return std::nullopt;
}

void plot_run(const PlotRequest& request, const std::string& path, PlotOutcome& outcome) {
  if (const auto training = training_file(path)) {
    const auto written = plot_training(read_training_h5(*training), std::filesystem::absolute(*training).parent_path().filename().string(), figure_prefix(request, *training));
    outcome.written.insert(outcome.written.end(), written.begin(), written.end());
    return;
  }
  const H5Reader file = open_results(path);
  if (const std::string caveat = quality_caveat(file); !caveat.empty()) outcome.notes.push_back(fmt::format("{}: {}", file.path(), caveat));
  const std::string prefix = figure_prefix(request, file.path());
  const PlotSamples samples = read_plot_samples(file);
  const PlotHistory history = read_plot_history(file);
  const PlotRun run = read_plot_run(file, samples, history, request.choice);
  const RecordedSteps recorded = read_recorded_steps(file, samples, history);
  std::vector<Figure> figures = {pareto_figure(run), steps_figure(run), accepted_figure(run)};
  for (const char* column : {"data_set", "category"})
    if (auto parts = parts_figure(run, file, samples, column)) figures.push_back(std::move(*parts));
  if (const auto means = recorded_means(run, file, recorded); !means.empty()) {
    figures.push_back(entropy_figure(run, means));
    figures.push_back(acceptance_figure(run, means));
  } else {
    outcome.notes.push_back(fmt::format("{}: no heat maps and no trajectories, since no positions are on record; with record = \"positions\" in [run] the sweep keeps them", file.path()));
  }
  figures.push_back(step_histogram_figure(run, samples, history));
  figures.push_back(stop_reason_figure(run, samples, history));
  if (auto flips = discordance(request, path, outcome)) figures.push_back(std::move(*flips));
  const size_t empty = std::erase_if(figures, [](const Figure& figure) { return !shows_anything(figure); });
  if (empty > 0) outcome.notes.push_back(fmt::format("{}: {} figures are left out: no forwards, steps or canvases are on record for them", file.path(), empty));
  for (auto& figure : figures) {
    figure.stem = prefix + figure.stem;
    outcome.written.push_back(figure.stem + ".png");
    outcome.written.push_back(figure.stem + ".svg");
  }
  draw_figures(figures);
  outcome.written.push_back(prefix + "report.html");
  EmbeddedTrajectories embedded = choose_trajectories(run, file, recorded);
  if (path == request.runs[0]) add_traces(embedded, request.traces);
  write_report(outcome.written.back(), &run, figures, embedded, token_text(request, run.denoiser));
}

}  // namespace

PlotOutcome plot_runs(const PlotRequest& request) {
  PlotOutcome outcome;
  if (request.runs.empty() && request.traces.empty()) throw usage_error("nothing to plot: give a run folder or run.h5, or traces with --trace FILE.h5");
  if (request.runs.empty()) plot_traces(request, outcome);
  for (const auto& path : request.runs) plot_run(request, path, outcome);
  return outcome;
}

}  // namespace canvaslab
