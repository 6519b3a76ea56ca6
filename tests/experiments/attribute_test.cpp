// canvaslab attribute as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/mistakes.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kProgram = CANVASLAB_PROGRAM;

constexpr const char* kPlan = R"toml([denoiser]
model = "hmm(states=4, alphabet=6, length=8)"
[dataset]
name = "source(items=40)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = [2, 4]
temperature = 1
)toml";

class AttributeCommand : public ::testing::Test {
 protected:
  AttributeCommand() { write_file(folder / "plan.toml", kPlan); }
  ShellResult canvaslab(const std::string& arguments) const { return shell("cd " + folder.path() + " && " + kProgram + " " + arguments); }
  json attribute(const std::string& a, const std::string& b, const std::string& more = "--out run") const {
    const auto result = canvaslab("attribute plan.toml '" + a + "' '" + b + "' --json --quiet --draws 200 " + more);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return json::parse(result.output);
  }
  TemporaryFolder folder;
};

TEST_F(AttributeCommand, AttributionSumsUpIsKeptAndTurnsAround) {
  const std::string a = "sampler=entropy_bound(0.1); stop=never; steps=4; temperature=1", b = "sampler=ddim; steps=4; temperature=1";
  const json there = attribute(a, b), back = attribute(b, a, "--out back");
  EXPECT_EQ(there["factors"].size(), 3u);
  EXPECT_EQ(there["mixtures"].size(), 8u);
  ASSERT_EQ(there["outcomes"].size(), 2u);
  EXPECT_EQ(there["outcomes"][0]["name"], "pair_divergence_nats");
  EXPECT_EQ(there["outcomes"][1]["name"], "tokens_per_forward_report");
  for (size_t o = 0; o < 2; ++o) {
    const json &outcome = there["outcomes"][o], &reversed = back["outcomes"][o];
    double sum = 0;
    for (size_t f = 0; f < 3; ++f) {
      sum += outcome["factors"][f]["contribution"].get<double>();
      EXPECT_NEAR(outcome["factors"][f]["contribution"].get<double>(), -reversed["factors"][f]["contribution"].get<double>(), 1e-14);
      EXPECT_NEAR(outcome["factors"][f]["interval95"][0].get<double>(), -reversed["factors"][f]["interval95"][1].get<double>(), 1e-13) << "the same items are drawn";
    }
    EXPECT_NEAR(sum, outcome["b"].get<double>() - outcome["a"].get<double>(), 1e-14);
    EXPECT_EQ(outcome["total"]["contribution"].get<double>(), outcome["b"].get<double>() - outcome["a"].get<double>());
  }
  // The same numbers as the run's own report: one row of aggregates a configuration.
  const auto exported = json::parse(canvaslab("diff run run --config-a 0 --config-b " + std::to_string(there["mixtures"][7]["config_idx"].get<int>()) + " --json").output);
  EXPECT_NEAR(exported["pairs"][0]["quality"]["difference"].get<double>(), there["outcomes"][0]["total"]["contribution"].get<double>(), 1e-13);
  EXPECT_EQ(json::parse(read_file(folder / "run/attribution.json")), there);
  const auto before = read_file(folder / "run/run.journal");
  EXPECT_EQ(attribute(a, b), there);
  EXPECT_EQ(read_file(folder / "run/run.journal"), before) << "nothing is run twice";
}

TEST_F(AttributeCommand, AFactorWithoutEffectGetsExactlyNothing) {
  const json out = attribute("sampler=entropy_bound(0.1); steps=4", "sampler=entropy_bound(0.5); steps=4; self_conditioning=false");  // hmm feeds nothing back
  ASSERT_EQ(out["factors"][1]["name"], "self-conditioning");
  for (const auto& outcome : out["outcomes"]) {
    EXPECT_EQ(outcome["factors"][1]["contribution"], 0.0);
    EXPECT_EQ(outcome["factors"][1]["interval95"], json({0.0, 0.0}));
    EXPECT_EQ(outcome["factors"][0]["contribution"], outcome["total"]["contribution"]);
  }
}

TEST_F(AttributeCommand, AttributionSpeaksToReadersAndNamesMistakes) {
  const auto text = canvaslab("attribute plan.toml 0 2 --quiet --draws 20 --out run");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.output, HasSubstr("order: A sampler=entropy_bound(entropy_bound=0.1) | B sampler=fixed_step"));
  EXPECT_THAT(text.output, HasSubstr("exact samples:"));
  EXPECT_THAT(canvaslab("attribute plan.toml 0 2 --quiet --draws 20 --out run --markdown").output, HasSubstr("| factor | contribution |"));
  EXPECT_THAT(canvaslab("attribute plan.toml 0 2 --dry-run").output, HasSubstr("mixtures"));
  testing::expect_mistakes(folder.path(), {
      {"attribute plan.toml 0 9", 2, "there is no configuration 9; there are:"},
      {"attribute plan.toml 0 0", 2, "A and B are the same configuration"},
      {"attribute plan.toml 0 entropy", 2, "fits 2 configurations"},
      {"attribute plan.toml 0 'sampler=ddimm'", 2, "did you mean 'ddim'?"},
      {"attribute plan.toml 0 'sampler=ddim; stepps=3'", 2, "unknown key 'stepps' in a configuration; did you mean 'steps'?"},
      {"attribute plan.toml 0 'sampler=ddim; steps'", 2, "'steps' is no key=value"},
      {"attribute plan.toml 0 'sampler=ddim; steps=3; steps=4'", 2, "'steps' is given twice"},
      {"attribute plan.toml 0 'sampler=ddim; steps=[3, 4]'", 2, "its lists make 2 configurations"},
      {"attribute plan.toml 0 'sampler=ddim; noise_level=known'", 2, "noise level 'known' is unknown; expected told or withheld"},
      {"attribute plan.toml 0 'sampler=fixed_step; noise_level=told'", 2, "follows no noise level"},
      {"attribute plan.toml 0 3 --draws 1", 2, "--draws"},
      {"attribute plan.toml 0 3 --json --markdown", 2, "not both"},
      {"attribute plan.toml 0 2 --set 'dataset.name=source(items=1)' --quiet --out one", 2, "at least two items"},
      {"attribute none.toml 0 1", 3, "none.toml: cannot be opened"},
  });
}

}  // namespace
}  // namespace canvaslab
