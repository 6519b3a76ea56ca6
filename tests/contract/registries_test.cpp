// What is registered, by exact name: a plug-in that the linker dropped, or an unfinished one, fails here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/denoiser.h"
#include "eval/dataset.h"
#include "samplers/contract.h"
#include "samplers/stop_rule.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> names(const auto& registry) {
  std::vector<std::string> out;
  for (const auto& entry : registry.entries()) out.push_back(entry.name);
  return out;
}

TEST(Registries, HoldExactlyTheExpectedNames) {  // sorted
  EXPECT_THAT(names(samplers()),
              ElementsAre("ar", "ban", "block_refinement", "cap", "causal_verify", "confidence_step", "confidence_threshold", "credit", "ddim", "ddim_integrated", "dus",
                          "end_fill", "entropy_bound", "entropy_bound_locked", "external", "factor", "fixed_plan", "fixed_step", "flow_matching", "frechet",
                          "greedy_planner", "hierarchy", "joint_threshold", "klass", "leftmost", "less", "linear_spec", "loo_corrector", "med", "never_lock_special",
                          "origin", "p2", "psi", "quota", "remdm", "s2d2", "self_correction", "shuffled", "slowfast", "spacing", "token_reset", "wino"));
  EXPECT_THAT(names(schedules()),
              ElementsAre("constant", "cosine", "geometric", "geometric_level", "grid", "hold", "linear", "linear_remaining",
                          "polynomial", "power", "quarter_cosine", "sine", "table"));
  EXPECT_THAT(names(stop_rules()),
              ElementsAre("accepted_all", "all_of", "all_revealed", "any_of", "budget", "confident_to_end", "entropy", "external", "flip_aware",
                          "kl_plateau", "left_complete", "max_steps", "never", "patience", "plateau", "prophet", "sched", "settled", "stable_and_confident", "stall",
                          "token_stability"));
  EXPECT_THAT(names(length_policies()), ElementsAre("by_entropy", "by_steps", "delimiter", "fixed", "growing"));
  EXPECT_THAT(names(self_conditionings()), ElementsAre("off", "on", "stale", "temperature", "top_k"));
  EXPECT_THAT(names(denoisers()),
              ElementsAre("cfg", "checking", "checkpoint", "copy", "external", "hmm", "latin_square", "markov", "parity", "perturbed", "replay", "scripted",
                          "shuffle", "stale", "tabulated", "uniform"));
  EXPECT_THAT(names(datasets()), ElementsAre("aime", "arithmetic", "choice", "dependency", "gpqa", "human_eval", "joined", "jsonl", "live_code_bench", "math_vision", "mmlu_pro", "programs", "prompts", "source", "sudoku", "suites"));
}

/// What a reader of `list` needs, for every plug-in of every registry; "" when nothing is missing.
std::string missing_description(const auto& entry) {
  if (entry.name != canonical_name(entry.name)) return entry.name + ": the name is not in canonical form";
  if (entry.summary.empty() || entry.summary.back() == '.')
    return entry.name + ": summary is empty or ends in a full stop";
  if (entry.source.empty()) return entry.name + ": no source";
  for (const auto& spec : entry.parameters)
    if (spec.doc.empty()) return entry.name + ": parameter " + spec.name + " is not described";
  return "";
}

TEST(Registries, DescribeEveryPluginAndParameter) {
  const auto check = [](const auto& registry) {
    std::vector<std::string> seen = names(registry);
    for (const auto& entry : registry.entries()) {
      EXPECT_EQ(missing_description(entry), "");
      for (const auto& alias : entry.aliases) {
        EXPECT_EQ(std::count(seen.begin(), seen.end(), canonical_name(alias)), 0)
            << alias << " names two " << registry.kind() << "s";
        seen.push_back(canonical_name(alias));
      }
    }
  };
  check(samplers()), check(schedules()), check(stop_rules()), check(length_policies()), check(self_conditionings()), check(denoisers()), check(datasets());
  EXPECT_NE(
      missing_description(SamplerRegistry::Entry{
          .name = "x", .summary = "", .source = "ours", .aliases = {}, .parameters = {}, .facts = {}, .make = {}}),
      "");
}

TEST(Registries, FindNamesWithoutRegardToCaseAndDashesAndSuggestTheNearest) {
  EXPECT_EQ(samplers().find("Entropy-Bound").name, "entropy_bound");
  EXPECT_EQ(samplers().find("EB").name, "entropy_bound");
  try {
    samplers().find("entropy_bond");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("did you mean 'entropy_bound'?"));
  }
}

// --- every schedule, stop rule, data set

TEST(PluginExpressions, ReadBackAsWrittenWhateverIsQuoted) {
  for (const std::string text : {R"(f("a b"=1))", R"(f("a=b"=1))", R"(f("\"a\""=1))", R"(f("a,b"="c)d"))", R"(f(a="\\", b='"', ""))"}) {
    const std::string written = parse_plugin(text).text();
    EXPECT_EQ(parse_plugin(written).text(), written) << text;
  }
  EXPECT_EQ(parse_plugin(R"(f("a=b"=1))").arguments.front().key, "a=b");
  EXPECT_EQ(parse_plugin(parse_plugin(R"(f("a=b"=1))").text()).arguments.front().key, "a=b");
  EXPECT_THROW(parse_plugin(R"(f(""=1))"), UserError);
}

TEST(EverySchedule, IsPureStaysInItsRangeAndHoldsItsEndBeyondTheRamp) {
  for (const auto& entry : schedules().entries())
    EXPECT_EQ(contract::keeps_the_schedule_contract(*make_schedule(parse_plugin(entry.name))), "") << entry.name;
}

TEST(EveryStopRule, ReadsOnlyWhatItDeclaresAndIsPure) {
  for (const auto& entry : stop_rules().entries()) {
    const bool composed = !entry.parameters.empty() && entry.parameters[0].type == ParamType::kPlugins;
    if (!composed && !contract::has_defaults(entry)) continue;
    const std::string text = composed ? entry.name + "(never, entropy(0.1), token_stability)" : entry.name;
    EXPECT_EQ(contract::keeps_the_stop_contract(configure_stop(parse_plugin(text))), "") << text;
  }
}

TEST(EveryDenoiser, KeepsTheDenoiserContract) {
  for (const std::string text :
       {"uniform(alphabet=7)", "markov(alphabet=7)", "copy(alphabet=7, span=2)", "parity(alphabet=7, block=4)", "shuffle(alphabet=7)",
        "tabulated(alphabet=7, block=2)", "perturbed(hmm(states=3, alphabet=7), noise=1)", "stale(hmm(states=3, alphabet=7))", "cfg(hmm(states=3, alphabet=7), scale=2)", "hmm(states=3, alphabet=7)", "hmm(states=3, alphabet=7, use_level=off)",
        "checking(a=hmm(states=3, alphabet=7), b=hmm(states=3, alphabet=7))"})
    EXPECT_EQ(contract::keeps_the_denoiser_contract([&] { return denoisers().make(text); }), "") << text;
  EXPECT_NE(denoisers().make("hmm(seed=1)")->content_hash(), denoisers().make("hmm(seed=2)")->content_hash());
}

// --- each of these checks is fed a plug-in that breaks it

struct WrongSchedule final : Schedule {
  explicit WrongSchedule(std::function<double(const Progress&)> f) : value_of(std::move(f)) {}
  double value(const Progress& progress) const override { return value_of(progress); }
  std::pair<double, double> range() const override { return {0, 1}; }
  std::function<double(const Progress&)> value_of;
};

TEST(WrongSchedules, AreCaught) {
  EXPECT_THAT(contract::keeps_the_schedule_contract(WrongSchedule([](const Progress& p) { return 2.0 * p.fraction(); })), ::testing::HasSubstr("outside its range"));
  EXPECT_THAT(contract::keeps_the_schedule_contract(WrongSchedule([](const Progress&) { return std::nan(""); })), ::testing::HasSubstr("another value"));
  EXPECT_THAT(contract::keeps_the_schedule_contract(WrongSchedule([](const Progress& p) { return p.step_idx / 1000.0; })), ::testing::HasSubstr("at the ramp's end"));
  EXPECT_THAT(contract::keeps_the_schedule_contract(WrongSchedule([n = 0](const Progress&) mutable { return (n = 1 - n) * 0.5; })), ::testing::HasSubstr("another value"));
}

struct WrongStop final : StopRule {
  explicit WrongStop(std::function<bool(const StepView&)> f) : stops(std::move(f)) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    return stops(view) ? std::optional<std::string>("wrong") : std::nullopt;
  }
  std::function<bool(const StepView&)> stops;
};

TEST(WrongStopRules, AreCaught) {
  const auto complaint = [](std::function<bool(const StepView&)> stops) {
    return contract::keeps_the_stop_contract({.canonical = "wrong", .statistics = {}, .breaks_level = false, .rule = std::make_unique<WrongStop>(std::move(stops))});
  };
  EXPECT_THAT(complaint([](const StepView& view) { return view.statistics->entropy_nats[0] > 0; }), ::testing::HasSubstr("does not declare"));
  EXPECT_THAT(complaint([n = 0](const StepView&) mutable { return ++n % 2 == 0; }), ::testing::HasSubstr("one thing and then another"));
  class NotSoStable final : public StopRule {
   public:
    std::optional<StableStop> stable_stop() const override { return StableStop{.confidence = 1, .stability = 1}; }
    std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
      return mean_entropy(view) < 1 ? std::optional<std::string>("stop") : std::nullopt;
    }
  };
  EXPECT_THAT(contract::keeps_the_stop_contract({.canonical = "wrong", .statistics = {Statistic::kMax, Statistic::kEntropy}, .breaks_level = false, .rule = std::make_unique<NotSoStable>()}),
              ::testing::HasSubstr("stable stop"));
}

TEST(EveryDataset, RefusesUnknownParametersAndDescribesItsScore) {
  for (const auto& entry : datasets().entries())
    EXPECT_THROW(datasets().make(entry.name + "(no_such_key=1)"), UserError) << entry.name;
  const auto source = datasets().make("source(items=5)");
  const auto examples = source->load();
  EXPECT_EQ(examples.size(), 5u);
  std::set<std::string> ids;
  for (const auto& example : examples) ids.insert(example.id);
  EXPECT_EQ(ids.size(), examples.size()) << "example ids are unique";
  EXPECT_FALSE(source->score_facts().name.empty());
}

}  // namespace
}  // namespace canvaslab
