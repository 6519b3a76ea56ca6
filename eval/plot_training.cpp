#include "eval/plot_training.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/figure.h"
#include "eval/paired.h"
#include "eval/sweep_view.h"

namespace canvaslab {
namespace {

double millions(int64_t tokens) { return static_cast<double>(tokens) / 1e6; }

Figure losses(const TrainingLog& log, const std::string& title, const std::string& prefix) {
  Figure out;
  out.stem = prefix + "training_losses";
  out.title = title;
  out.caption = "training batches; each point a mean over the steps since the one before";
  out.x.label = "million tokens";
  out.y.label = "nats per token";
  out.y.scale = Scale::kLog10;
  out.series = log.tasks;
  out.marks_every = std::max<size_t>(1, log.lines.size() / 12);
  const std::pair<const char*, std::vector<double> TrainingLine::*> kinds[] = {
      {"diffusion, all noise levels", &TrainingLine::diffusion}, {"diffusion, noise 0.9 and more", &TrainingLine::noisiest}, {"causal", &TrainingLine::causal}};
  for (const auto& [name, values] : kinds) {
    Panel panel;
    panel.title = name;
    for (size_t t = 0; t < log.tasks.size(); ++t) {
      std::vector<Mark> marks;
      for (const auto& line : log.lines)
        if (const double loss = (line.*values)[t]; loss > 0) marks.push_back(Mark::at(millions(line.tokens), loss));
      if (!marks.empty()) panel.lines.emplace_back(t, std::move(marks));
    }
    out.panels.push_back(std::move(panel));
  }
  out.columns = 3;
  return out;
}

Figure accuracies(const TrainingLog& log, const std::string& title, const std::string& prefix) {
  Figure out;
  out.stem = prefix + "training_accuracy";
  out.title = title;
  out.caption = "held-out questions, averaged weights; Wilson intervals of 95%";
  out.x.label = "million tokens";
  out.y.label = "accuracy";
  out.y.range = {0.0, 1.0};
  std::vector<std::string> settings;
  for (const auto& e : log.evaluations)
    if (std::find(settings.begin(), settings.end(), e.settings) == settings.end()) settings.push_back(e.settings);
  out.series = short_labels(settings);
  const auto tokens_at = [&](int64_t step) {
    const auto found = std::find_if(log.lines.begin(), log.lines.end(), [&](const auto& line) { return line.step >= step; });
    return found == log.lines.end() ? log.lines.back().tokens : found->tokens;
  };
  for (const auto& task : log.tasks) {
    Panel panel;
    panel.title = task;
    for (size_t s = 0; s < settings.size(); ++s) {
      std::vector<Mark> marks;
      for (const auto& e : log.evaluations) {
        if (e.task != task || e.settings != settings[s]) continue;
        const auto interval = wilson_interval(static_cast<int64_t>(std::lround(e.accuracy * static_cast<double>(e.num_items))), e.num_items);
        const double x = millions(tokens_at(e.step));
        marks.push_back({.x = x, .y = e.accuracy, .x_low = x, .x_high = x, .y_low = interval.low, .y_high = interval.high});
      }
      if (!marks.empty()) panel.lines.emplace_back(s, std::move(marks));
    }
    if (!panel.lines.empty()) out.panels.push_back(std::move(panel));
  }
  return out;
}

}  // namespace

std::vector<std::string> plot_training(const TrainingLog& log, const std::string& title, const std::string& prefix) {
  if (log.lines.empty()) throw input_error("{}: the training has no line of its log yet", title);
  std::vector<Figure> figures{losses(log, title, prefix)};
  if (!log.evaluations.empty()) figures.push_back(accuracies(log, title, prefix));
  draw_figures(figures);
  std::vector<std::string> out;
  for (const auto& figure : figures)
    for (const char* type : {".png", ".svg"}) out.push_back(figure.stem + type);
  return out;
}

}  // namespace canvaslab
