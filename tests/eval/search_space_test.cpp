// Random search: what is drawn, from where, and what is refused.
#include "eval/search_space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "eval/sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kHead = "[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"source(items=6)\"\n[search]\nkind = \"random\"\n";

SweepPlan plan_of(const std::string& search) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", kHead + search);
  return read_sweep(folder / "plan.toml", {});
}

std::string mistake(const std::string& search) {
  try {
    prepare_sweep(plan_of(search), nullptr);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage) << error.what();
    return error.what();
  }
}

constexpr const char* kSpace = R"toml(
sampler.entropy_bound.entropy_bound = {min = 0.01, max = 1, scale = "log"}
sampler.confidence_threshold = {threshold = {min = 0.5, max = 0.99}, mode = ["locked", "memoryless"]}
sampler.dus.base = {min = 2, max = 5}
steps = {min = 2, max = 9}
canvas_length = [4, 6]
temperature = {min = 0.5, max = 1.5}
max_new_tokens = 8
)toml";

double argument(const std::string& text, const std::string& key) {
  for (const auto& argument : parse_plugin(text).arguments)
    if (argument.key == key) return parse_real(argument->name, key);
  ADD_FAILURE() << text << " has no " << key;
  return 0;
}

/// Largest distance of the empirical distribution of values in (0, 1) from the uniform one.
double kolmogorov(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i)
    worst = std::max({worst, std::abs(values[i] - static_cast<double>(i) / static_cast<double>(values.size())), std::abs(values[i] - static_cast<double>(i + 1) / static_cast<double>(values.size()))});
  return worst;
}

TEST(SearchSpace, DrawsEvenlyFromListsAndRanges) {
  const auto plan = plan_of("budget = 3000\nseed = 5\n" + std::string(kSpace));
  ASSERT_EQ(plan.configs.size(), 3000u);
  std::map<std::string, size_t> samplers, modes;
  std::map<int32_t, size_t> steps, lengths, bases;
  std::vector<double> bounds, thresholds, temperatures;
  for (const auto& config : plan.configs) {
    const PlanRequest& request = config.request;
    const PluginExpr expr = parse_plugin(request.sampler);
    ++samplers[expr.name], ++steps[*request.num_steps], ++lengths[*request.canvas_length];
    temperatures.push_back(parse_real(*request.temperature, "temperature") - 0.5);
    EXPECT_EQ(request.max_new_tokens, 8);
    if (expr.name == "entropy_bound") bounds.push_back((std::log(argument(request.sampler, "entropy_bound")) - std::log(0.01)) / std::log(100.0));
    if (expr.name == "dus") ++bases[static_cast<int32_t>(argument(request.sampler, "base"))];
    if (expr.name != "confidence_threshold") continue;
    thresholds.push_back((argument(request.sampler, "threshold") - 0.5) / 0.49);
    for (const auto& each : expr.arguments)
      if (each.key == "mode") ++modes[each->name];
  }
  // 1.95 / sqrt(n) is the distance that chance exceeds once in a thousand; the rounding to four digits stays below a tenth of it.
  for (const auto* values : {&bounds, &thresholds, &temperatures}) {
    ASSERT_GT(values->size(), 500u);
    EXPECT_LT(kolmogorov(*values), 1.95 / std::sqrt(static_cast<double>(values->size())));
  }
  // Counts: five standard deviations of a binomial.
  const auto even = [](const auto& counts, size_t kinds) {
    ASSERT_EQ(counts.size(), kinds);
    double total = 0;
    for (const auto& [value, count] : counts) total += static_cast<double>(count);
    const double p = 1.0 / static_cast<double>(kinds);
    for (const auto& [value, count] : counts) EXPECT_NEAR(static_cast<double>(count), total * p, 5 * std::sqrt(total * p * (1 - p)));
  };
  even(samplers, 3), even(steps, 8), even(lengths, 2), even(bases, 4), even(modes, 2);
}

TEST(SearchSpace, ALargerBudgetAFurtherKeyOrAnotherSeedChangeWhatTheyShould) {
  const auto texts = [](const std::string& more) {
    std::vector<std::string> out;
    for (const auto& config : plan_of(more + kSpace).configs) out.push_back(config.request.sampler + fmt::format(" {}", *config.request.num_steps));
    return out;
  };
  const auto ten = texts("budget = 10\n"), twenty = texts("budget = 20\n");
  EXPECT_EQ(ten, texts("budget = 10\n"));
  EXPECT_EQ(ten, std::vector(twenty.begin(), twenty.begin() + 10));
  EXPECT_EQ(ten, texts("budget = 10\nemission = [\"argmax\", \"canvas\"]\n"));
  EXPECT_NE(ten, texts("budget = 10\nseed = 2\n"));
}

TEST(SearchSpace, SelfConditioningIsDrawnLikeOtherPlugins) {
  const auto drawn = [](const std::string& search) {
    std::map<std::string, size_t> out;
    for (const auto& config : plan_of("budget = 40\nsampler = \"fixed_step\"\nsteps = {min = 2, max = 900}\n" + search).configs) ++out[config.request.feedback];
    return out;
  };
  const auto words = drawn("self_conditioning = [true, \"off\", \"stale(4)\"]\n");
  ASSERT_EQ(words.size(), 3u);
  EXPECT_TRUE(words.contains("on") && words.contains("off") && words.contains("stale(4)"));
  const auto ranges = drawn("self_conditioning.off = {}\nself_conditioning.stale.every = {min = 2, max = 5}\n");
  ASSERT_EQ(ranges.size(), 5u);
  EXPECT_TRUE(ranges.contains("off") && ranges.contains("stale(every=2)") && ranges.contains("stale(every=5)"));
}

TEST(SearchSpace, PointsAreDifferentAndAPlanRunsBesideAGrid) {
  const auto plan = plan_of("budget = 6\nsampler = [\"fixed_step\", \"ddim\"]\nsteps = [1, 2, 3]\n");
  std::set<std::pair<std::string, int32_t>> seen;
  for (const auto& config : plan.configs) seen.insert({config.request.sampler, *config.request.num_steps});
  EXPECT_EQ(seen.size(), 6u);
  EXPECT_NE(mistake("budget = 7\nsampler = [\"fixed_step\", \"ddim\"]\nsteps = [1, 2, 3]\n").find("holds 6 different configurations, but the budget is 7"), std::string::npos);
  const TemporaryFolder folder;
  write_file(folder / "both.toml", kHead + "budget = 2\nsampler = \"fixed_step\"\nsteps = {min = 5, max = 9}\n[grid]\nsampler = \"ddim\"\nsteps = 3\n");
  EXPECT_EQ(read_sweep(folder / "both.toml", {}).configs.size(), 3u);
}

TEST(SearchSpace, MistakesNameThePlaceAndWhatIsAllowed) {
  const auto says = [](const std::string& search, const std::string& what) { EXPECT_NE(mistake(search).find(what), std::string::npos) << mistake(search); };
  says("sampler = \"ddim\"\n", "plan.toml:6:8: [search] needs 'budget'");
  says("budget = 2\nsteps = 3\n", "[search] needs 'sampler'");
  says("budget = 2\nsampler.ddmi = {}\n", "plan.toml:8:16: there is no sampler 'ddmi'; did you mean 'ddim'?");
  says("budget = 2\nsampler.confidence_threshold.treshold = {min = 0.5, max = 0.9}\n", "unknown key 'treshold' in the parameters of 'confidence_threshold'; did you mean 'threshold'?");
  says("budget = 2\nsampler.confidence_threshold.threshold = {min = 0.5, max = 1.5}\n", "plan.toml:8:42: ");
  says("budget = 2\nsampler.confidence_threshold.threshold = {min = 0.9, max = 0.5}\n", "goes from 0.9 to 0.5; expected min below max");
  says("budget = 2\nsampler.confidence_threshold.threshold = {min = 0.5, max = 0.9, scale = \"lin\"}\n", "did you mean 'linear'?");
  says("budget = 2\nsampler.confidence_threshold.threshold = {min = 0, max = 0.9, scale = \"log\"}\n", "a log scale needs min above 0");
  says("budget = 2\nsampler.confidence_threshold.threshold = {min = 0.5, maximum = 0.9}\n", "unknown key 'maximum'");
  says("budget = 2\nsampler.confidence_threshold.mode = {min = 0, max = 1}\n", "takes words, so a range makes no sense");
  says("budget = 2\nsampler.confidence_threshold.mode = [\"locked\", \"lucked\"]\n", "locked");
  says("budget = 2\nsampler.dus.base = {min = 2.5, max = 5}\n", "holds whole numbers");
  says("budget = 2\nsampler = \"ddim\"\nsteps = {min = 0, max = 5}\n", "'steps' is 0; expected 1 to");
  says("budget = 2\nsampler = \"ddim\"\nemission = \"canvass\"\n", "did you mean 'canvas'?");
  says("budget = 2\nsampler = \"ddim\"\nmax_new_tokens = [4, 8]\n", "'max_new_tokens' must be a whole number");
  says("budget = 2\nsampler = \"ddim\"\nself_conditioning = \"stail(2)\"\n", "did you mean 'stale'?");
  says("budget = 2\nsampler = \"ddim\"\nself_conditioning.stale.every = {min = 0, max = 4}\n", "plan.toml:9:");
  says("budget = 2\nsampler = \"ddim\"\nself_conditioning = 3\n", "must be true, false, a string or a list of them");
  says("budget = 2\nsampler = \"ddim\"\nrounds = 2\n", "'rounds' belongs to kind = \"halving\"");
}

}  // namespace
}  // namespace canvaslab
