// The autoregressive row of a sweep: once whatever the grid, exact on a source, and beside every canvas length in plots.
#include <gtest/gtest.h>

#include <algorithm>

#include "eval/plot_data.h"
#include "eval/plot_figures.h"
#include "eval/run_scores.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

constexpr const char* kPlan = R"toml([denoiser]
model = "hmm(states=6, alphabet=9, sharpness=4)"
[dataset]
name = "source(items=200)"
[grid]
sampler = ["fixed_step", "ar"]
steps = [2, 4]
canvas_length = [8, 16]
max_new_tokens = 48
)toml";

TEST(AutoregressiveRow, StandsOnceInAGridWithItsSpeedAndBesideEveryCanvasLength) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", kPlan);
  const auto sweep = prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr);
  ASSERT_EQ(sweep.num_candidates, 5u) << "four points of fixed_step and one";
  const auto at = std::find_if(sweep.settings_text.begin(), sweep.settings_text.end(), [](const auto& text) { return text.starts_with("sampler=ar("); }) - sweep.settings_text.begin();
  SweepOptions options;
  options.out_dir = folder / "run";
  options.threads = 2;
  const H5Reader file(run_sweep(sweep, options).results_path);
  const auto one = [&](const char* name) { return file.read<double>(std::string("aggregates/") + name).at(static_cast<size_t>(at)); };
  EXPECT_NEAR(one("tokens_per_denoiser_forward_mean"), 48.0 / 47, 1e-12) << "the last token is read by no forward";
  EXPECT_NEAR(one("tokens_per_forward_report_ratio_of_sums"), 48.0 / 47, 1e-12);
  EXPECT_EQ(one("steps_per_canvas_mean"), 0);
  EXPECT_EQ(one("step_limit_frac"), 0);
  // Its law is the source's: as far from it as exact samples are, up to the errors of both; fixed_step is far away.
  const auto control = file.read<uint8_t>("config/control");
  const auto exact = static_cast<size_t>(std::find(control.begin(), control.end(), 1) - control.begin());
  const auto divergence = file.read<double>("aggregates/pair_divergence_nats"), error = file.read<double>("aggregates/pair_divergence_standard_error");
  EXPECT_LT(std::abs(one("pair_divergence_nats") - divergence[exact]), 4 * std::hypot(one("pair_divergence_standard_error"), error[exact]));
  EXPECT_GT(divergence[0], 5 * one("pair_divergence_nats")) << "another law must be seen, or nothing was tested";

  const PlotRun run = read_plot_run(file, read_plot_samples(file), read_plot_history(file), {});
  const auto series = static_cast<size_t>(std::find_if(run.series.begin(), run.series.end(), [](const auto& name) { return name.starts_with("ar"); }) - run.series.begin());
  ASSERT_LT(series, run.series.size());
  const auto panels_with = [&](const Figure& figure) {
    return std::count_if(figure.panels.begin(), figure.panels.end(), [&](const Panel& panel) { return std::any_of(panel.lines.begin(), panel.lines.end(), [&](const auto& line) { return line.first == series; }); });
  };
  EXPECT_EQ(pareto_figure(run).panels.size(), 2u) << "canvas lengths 8 and 16";
  EXPECT_EQ(panels_with(pareto_figure(run)), 2);
  EXPECT_EQ(panels_with(steps_figure(run)), 0) << "it has no steps";
}

}  // namespace
}  // namespace canvaslab
