// The axes of the quality plot on samples whose numbers are worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "eval/plot_axis.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// Configuration 0: item 0 twice, item 1 once, item 2 failed. Configuration 1: a control without forwards.
PlotSamples samples() {
  PlotSamples s;
  s.num_configs = 2;
  s.config = {0, 0, 0, 0, 1};
  s.item = {0, 0, 1, 2, 0};
  s.failed = {0, 0, 0, 1, 0};
  s.canvas_length = {16, 16, 16, 16, 16};
  s.num_tokens = {16, 32, 8, 0, 16};
  s.num_prompt_tokens = {5, 5, 7, 5, 5};
  s.denoise = {4, 8, 2, 9, 0};
  s.verify = {1, 3, 0, 9, 0};
  s.unconditional = {0, 2, 0, 9, 0};
  s.append = {0, 1, 0, 9, 0};
  s.prefill = {1, 1, 1, 1, 0};
  s.tokens_per_forward = {4, 4, 4, NAN, NAN};
  s.tokens_per_forward_report = {3.2, 2.5, 4, NAN, NAN};
  s.seconds = {0.004, 0.008, 0.002, 9, 0};
  s.score = {1, 0, 1, NAN, 0};
  return s;
}

double mean(const std::string& axis, ForwardCosts costs = {}, bool per_token = false) { return plot_axis({.name = axis, .costs = costs, .per_token = per_token}, samples()).values[0].mean; }

TEST(PlotAxis, ValuesAreMeansOverItemsOfMeansOverRepeats) {
  EXPECT_DOUBLE_EQ(mean("tokens_per_forward"), 4);
  EXPECT_DOUBLE_EQ(mean("tokens_per_forward_report"), ((3.2 + 2.5) / 2 + 4) / 2);
  EXPECT_DOUBLE_EQ(mean("forwards_denoise"), ((4 + 8) / 2.0 + 2) / 2);
  EXPECT_DOUBLE_EQ(mean("forwards_verify"), ((1 + 3) / 2.0 + 0) / 2);
  EXPECT_DOUBLE_EQ(mean("forwards_unconditional"), 0.5);
  EXPECT_DOUBLE_EQ(mean("forwards_append"), 0.25);
  EXPECT_DOUBLE_EQ(mean("forwards_prefill"), 1);
  EXPECT_DOUBLE_EQ(mean("forwards"), ((5 + 14) / 2.0 + 2) / 2);
  EXPECT_DOUBLE_EQ(mean("positions_processed"), ((5 * 16 + 5 + 14 * 16 + 5) / 2.0 + 2 * 16 + 7) / 2);
  EXPECT_DOUBLE_EQ(mean("cost_weighted_forwards", parse_costs("verify=0.25,append=0.5,prefill=2")), ((4 + 0.25 + 2 + 8 + 0.75 + 2 + 0.5 + 2) / 2 + 2 + 2) / 2);
  EXPECT_DOUBLE_EQ(mean("forwards_denoise", {}, true), ((4 / 16.0 + 8 / 32.0) / 2 + 2 / 8.0) / 2);
  EXPECT_NEAR(mean("wall_clock"), (6 + 2) / 2.0, 1e-12);  // ms
  EXPECT_NEAR(mean("tokens_per_second"), 4000, 1e-9);
}

TEST(PlotAxis, ErrorsAreOverItemsAndControlsHaveNoValue) {
  const PlotAxis axis = plot_axis({.name = "Forwards-Denoise", .costs = {}, .per_token = false}, samples());
  ASSERT_EQ(axis.values.size(), 2u);
  EXPECT_EQ(axis.values[0].count, 2);
  EXPECT_DOUBLE_EQ(axis.values[0].standard_error, 2);  // items 6 and 2: sqrt((2^2 + 2^2) / (2 * 1)) = 2
  EXPECT_EQ(axis.values[1].count, 0);
  EXPECT_FALSE(axis.more_is_better);
  EXPECT_EQ(axis.label, "denoiser forwards per sample (forwards)");
  EXPECT_TRUE(plot_axis({}, samples()).more_is_better);
}

TEST(PlotAxis, LabelsSayUnitsAndWeights) {
  const auto label = [](const AxisChoice& choice) { return plot_axis(choice, samples()).label; };
  EXPECT_EQ(label({.name = "wall_clock", .costs = {}, .per_token = false}), "wall clock per sample, prefill left out (ms)");
  EXPECT_EQ(label({.name = "cost_weighted_forwards", .costs = parse_costs("verify=0.3"), .per_token = true}),
            "cost per token: denoise 1, verify 0.3, unconditional 1, append 1, prefill 0 (denoiser forwards)");
}

TEST(PlotAxis, MistakesAreNamed) {
  const auto message = [](const auto& run) {
    try {
      run();
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message([] { plot_axis({.name = "tokens_per_forwrd", .costs = {}, .per_token = false}, samples()); }), HasSubstr("did you mean 'tokens_per_forward'?"));
  EXPECT_THAT(message([] { plot_axis({.name = "tokens_per_second", .costs = {}, .per_token = true}, samples()); }), HasSubstr("--per-token"));
  EXPECT_THAT(message([] { parse_costs("verfy=1"); }), HasSubstr("did you mean 'verify'?"));
  EXPECT_THAT(message([] { parse_costs("verify=-1"); }), HasSubstr("at least 0"));
  EXPECT_THAT(message([] { parse_costs("verify"); }), HasSubstr("verify"));
}

}  // namespace
}  // namespace canvaslab
