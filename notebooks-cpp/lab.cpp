#include "notebooks-cpp/lab.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "core/sources/source.h"

namespace canvaslab::notebook {

GenerationPlan plan_for(const Denoiser& denoiser, const Setting& setting) {
  PlanRequest request;
  request.sampler = setting.sampler;
  request.num_steps = setting.steps;
  request.temperature = setting.temperature;
  request.emission = setting.emission;
  request.stop = setting.stop;
  return resolve_plan(request, denoiser);
}

std::vector<RowResult> generate_many(const Denoiser& denoiser, const GenerationPlan& plan, size_t count, uint64_t seed) {
  std::vector<RowInput> rows(count);
  for (size_t i = 0; i < count; ++i) rows[i].seed = seed, rows[i].item = i;
  return generate(denoiser, plan, rows);
}

Texts texts_of(const std::vector<RowResult>& results) {
  Texts out;
  for (const auto& result : results) out.push_back(result.canvas_ids);
  return out;
}

Texts exact_samples(const Denoiser& denoiser, size_t length, size_t count, uint64_t seed) {
  Texts out;
  for (size_t i = 0; i < count; ++i) out.push_back(denoiser.source()->sample(length, {.seed = seed, .item = i}));
  return out;
}

Divergence divergence_of(const Texts& texts, const Source& source) {
  std::vector<uint32_t> item(texts.size());
  std::iota(item.begin(), item.end(), 0u);
  return pair_divergence({texts.begin(), texts.end()}, item, source.pair_law(), source.vocabulary());
}

MeanError nll_per_token(const Texts& texts, const Source& source) {
  std::vector<double> values;
  for (const auto& text : texts) values.push_back(-source.log_prob(text, {}) / static_cast<double>(text.size()));
  return mean_error(values);
}

Figure figure_of(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Curve>& curves, const std::string& caption) {
  Figure figure;
  figure.title = title;
  figure.x.label = x_label;
  figure.y.label = y_label;
  figure.caption = caption;
  add_panel(figure, "", curves);
  return figure;
}

void add_panel(Figure& figure, const std::string& title, const std::vector<Curve>& curves) {
  Panel panel;
  panel.title = title;
  for (const auto& curve : curves) {
    const auto at = std::find(figure.series.begin(), figure.series.end(), curve.name);
    panel.lines.emplace_back(static_cast<size_t>(at - figure.series.begin()), curve.marks);
    if (at == figure.series.end()) figure.series.push_back(curve.name);
  }
  figure.panels.push_back(panel);
}

std::vector<Mark> marks(const std::vector<double>& x, const std::vector<double>& y) {
  if (x.size() != y.size()) throw std::logic_error("marks: the columns differ in length");
  std::vector<Mark> out;
  for (size_t i = 0; i < x.size(); ++i) out.push_back(Mark::at(x[i], y[i]));
  return out;
}

}  // namespace canvaslab::notebook
