// What a sweep's aggregates say of whom: the autoregressive row, once whatever the grid, exact on a source, and beside every canvas
// length in plots; speed with forwards of every kind; sources whose rule the quality does not see.
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

/// Tokens over the forwards of every kind, as the definition of a sample's.
TEST(Speed, TheRatioOfSumsCountsVerifyForwardsToo) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"hmm(states=6, alphabet=9)\"\n[dataset]\nname = \"source(items=6)\"\n[grid]\nsampler = [\"linear_spec\", \"causal_verify\", \"fixed_step\"]\nsteps = 4\ncanvas_length = 8\nmax_new_tokens = 16\n");
  SweepOptions options;
  options.out_dir = folder / "run";
  const H5Reader file(run_sweep(prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr), options).results_path);
  const auto column = [&](const std::string& name) { return file.read<double>("samples/" + name); };
  const auto config = column("config_idx"), tokens = column("num_tokens"), denoise = column("forwards_denoise"), verify = column("forwards_verify"), append = column("forwards_append");
  const auto ratio = file.read<double>("aggregates/tokens_per_forward_report_ratio_of_sums");
  for (size_t c = 0; c < 3; ++c) {
    double written = 0, forwards = 0, checks = 0;
    for (size_t i = 0; i < config.size(); ++i)
      if (config[i] == static_cast<double>(c)) written += tokens[i], forwards += denoise[i] + verify[i] + append[i], checks += verify[i];
    EXPECT_NEAR(ratio[c], written / forwards, 1e-12) << "configuration " << c;
    EXPECT_EQ(checks > 0, c < 2) << "configuration " << c;
  }
}

/// Neighbours do not show the rule of a source that copies at a distance; the file says so, and what would decide by pairs refuses.
TEST(QualityCaveat, IsOnRecordWhereNeighboursDoNotShowTheRule) {
  const TemporaryFolder folder;
  const auto plan = [&](const std::string& model, const std::string& more) {
    write_file(folder / "plan.toml", "[denoiser]\nmodel = \"" + model + "\"\n[dataset]\nname = \"source(items=40)\"\n[grid]\nsampler = [\"fixed_step\", \"ddim\"]\nsteps = 2\n" + more);
    return prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr);
  };
  for (const auto& [model, tells] : {std::pair{"hmm", true}, {"markov", true}, {"copy(span=1)", true}, {"copy(span=3)", false}, {"parity", false}, {"shuffle(alphabet=4)", false}, {"latin_square(order=2)", false}}) {
    SweepOptions options;
    options.out_dir = folder / model;
    const H5Reader file(run_sweep(plan(model, ""), options).results_path);
    EXPECT_EQ(quality_caveat(file).empty(), tells) << model;
    EXPECT_EQ(read_run_scores(options.out_dir).quality_caveat.empty(), tells) << model;
    const auto refusal = [&]() -> std::string {
      SweepOptions into;
      into.out_dir = folder / (std::string(model) + "-halved");
      try {
        run_sweep(plan(model, "[search]\nkind = \"halving\"\nitems = 8\nrounds = 2\nconfirm = 8\n"), into);
      } catch (const UserError& error) {
        return error.what();
      }
      return "";
    };
    const std::string why = refusal();
    if (tells) EXPECT_EQ(why, "") << model;
    else EXPECT_NE(why.find("joins tokens that are no neighbours"), std::string::npos) << model << ": " << why;
  }
}

}  // namespace
}  // namespace canvaslab
