#pragma once
// Short forms of what most notebooks do: plan, sample, judge, draw.
#include <string>
#include <utility>
#include <vector>

#include "core/denoiser.h"
#include "eval/figure.h"
#include "eval/statistics.h"
#include "samplers/engine.h"

namespace canvaslab::notebook {

/// One way to fill a canvas. Unlike a PlanRequest nothing is left to defaults of samplers or denoisers.
struct Setting {
  std::string sampler;
  int32_t steps = 8;
  std::string temperature = "constant(1)";
  std::string emission = "canvas";
  std::string stop = "never";
};
GenerationPlan plan_for(const Denoiser& denoiser, const Setting& setting);

/// One canvas each for `count` items: the same initial noise for every setting, hence paired comparisons.
std::vector<RowResult> generate_many(const Denoiser& denoiser, const GenerationPlan& plan, size_t count, uint64_t seed = 1);

/// The tokens of results, or of exact samples of the denoiser's source, as rows.
using Texts = std::vector<std::vector<int32_t>>;
Texts texts_of(const std::vector<RowResult>& results);
Texts exact_samples(const Denoiser& denoiser, size_t length, size_t count, uint64_t seed = 2);

/// Divergence of neighbouring pairs from the source's law, with its jackknife error. One text per item.
Divergence divergence_of(const Texts& texts, const Source& source);
/// Mean negative log-likelihood per token under the source, nats, with its standard error over texts.
MeanError nll_per_token(const Texts& texts, const Source& source);

/// A figure of one panel. Errors, log axes and a control band are set afterwards.
struct Curve {
  std::string name;
  std::vector<Mark> marks;
};
Figure figure_of(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Curve>& curves, const std::string& caption);
/// Adds a panel whose curves are series of the figure by name, added where they are new.
void add_panel(Figure& figure, const std::string& title, const std::vector<Curve>& curves);
/// Marks without intervals from two columns of equal length.
std::vector<Mark> marks(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace canvaslab::notebook
