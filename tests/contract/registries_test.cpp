// What is registered, by exact name: a plug-in that the linker dropped, or an unfinished one, fails here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/denoiser.h"
#include "eval/dataset.h"
#include "samplers/stop_rule.h"
#include "schedules/schedule.h"
#include "tests/support/step.h"

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
              ElementsAre("ban", "block_refinement", "cap", "causal_verify", "confidence_step", "confidence_threshold", "ddim", "ddim_integrated", "dus",
                          "entropy_bound", "entropy_bound_locked", "factor", "fixed_plan", "fixed_step", "flow_matching", "frechet",
                          "greedy_planner", "hierarchy", "joint_threshold", "klass", "leftmost", "less", "loo_corrector", "med", "never_lock_special",
                          "origin", "p2", "psi", "quota", "remdm", "self_correction", "shuffled", "slowfast", "spacing", "token_reset", "wino"));
  EXPECT_THAT(names(schedules()),
              ElementsAre("constant", "cosine", "geometric", "geometric_level", "grid", "hold", "linear", "linear_remaining",
                          "polynomial", "power", "quarter_cosine", "sine", "table"));
  EXPECT_THAT(names(stop_rules()),
              ElementsAre("accepted_all", "all_of", "all_revealed", "any_of", "confident_to_end", "entropy", "flip_aware",
                          "kl_plateau", "left_complete", "max_steps", "never", "plateau", "prophet", "settled", "stable_and_confident",
                          "token_stability"));
  EXPECT_THAT(names(denoisers()),
              ElementsAre("checking", "copy", "hmm", "latin_square", "markov", "parity", "perturbed", "replay", "scripted",
                          "shuffle", "stale", "tabulated", "uniform"));
  EXPECT_THAT(names(datasets()), ElementsAre("prompts", "source"));
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
  check(samplers()), check(schedules()), check(stop_rules()), check(denoisers()), check(datasets());
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

TEST(EverySchedule, IsPureStaysInItsRangeAndHoldsItsEndBeyondTheRamp) {
  for (const auto& entry : schedules().entries()) {
    const auto schedule = make_schedule(parse_plugin(entry.name));
    const auto [low, high] = schedule->range();
    for (int32_t steps : {1, 2, 7, 48}) {
      const double end = schedule->value({.step_idx = steps, .num_steps = steps});
      for (int32_t step = 0; step < 3 * steps; ++step) {
        const double value = schedule->value({.step_idx = step, .num_steps = steps});
        EXPECT_EQ(value, schedule->value({.step_idx = step, .num_steps = steps}));
        EXPECT_GE(value, low - 1e-7) << entry.name;  // linear_remaining computes in f32
        EXPECT_LE(value, high + 1e-7) << entry.name;
        if (step >= steps) {
          EXPECT_EQ(value, end) << entry.name << " at step " << step << " of a ramp of " << steps;
        }
      }
    }
  }
}

TEST(EveryStopRule, ReadsOnlyWhatItDeclaresAndIsPure) {
  std::mt19937 engine(7);
  for (const auto& entry : stop_rules().entries()) {
    const bool composed = !entry.parameters.empty() && entry.parameters[0].type == ParamType::kPlugins;
    const auto stop =
        configure_stop(parse_plugin(composed ? entry.name + "(never, entropy(0.1), token_stability)" : entry.name));
    for (int trial = 0; trial < 100; ++trial) {
      testing_support::Step step(1 + engine() % 20, engine);
      const CanvasState state{.revealed = std::vector<uint8_t>(step.canvas.size(), trial % 2), .scratch = {}};
      StopHistory history;
      if (trial % 3) history.argmax.push_back(step.statistics.argmax);
      const auto first = stop.rule->check(step.view(1, 4), state, {}, history);
      testing_support::poison(step.statistics, stop.statistics);
      EXPECT_EQ(stop.rule->check(step.view(1, 4), state, {}, history), first)
          << entry.name << " reads a statistic it does not declare";
    }
  }
}

TEST(EveryDenoiser, KeepsTheDenoiserContract) {
  for (const std::string text :
       {"uniform(alphabet=7)", "markov(alphabet=7)", "copy(alphabet=7, span=2)", "parity(alphabet=7, block=4)", "shuffle(alphabet=7)",
        "tabulated(alphabet=7, block=2)", "perturbed(hmm(states=3, alphabet=7), noise=1)", "stale(hmm(states=3, alphabet=7))", "hmm(states=3, alphabet=7)", "hmm(states=3, alphabet=7, use_level=off)",
        "checking(a=hmm(states=3, alphabet=7), b=hmm(states=3, alphabet=7))"}) {
    const auto denoiser = denoisers().make(text);
    const std::vector<int32_t> ids = {1, 2}, canvas = {0, 6, 3}, committed = {5, 5, 1};
    Prompt prompt;
    prompt.ids = ids;
    const auto ask = [&](Sequence& sequence, std::span<const int32_t> tokens, int32_t step) {
      DenoiseRow row{.sequence = &sequence, .request = {}};
      row.request.canvas = tokens;
      row.request.step_idx = step;
      row.request.want_logits = true;
      row.request.wanted = {Statistic::kMax};
      return std::move(denoiser->denoise(std::span(&row, 1)).front());
    };
    const auto sequence = denoiser->prefill(prompt);
    const auto before = ask(*sequence, canvas, 0);
    EXPECT_EQ(before.logits.size(), canvas.size() * 7) << text;
    EXPECT_EQ(before.statistics.argmax.size(), canvas.size());
    EXPECT_TRUE(before.statistics.entropy_nats.empty()) << "only declared statistics are filled";
    const auto fork = sequence->fork();
    denoiser->append(*sequence, committed, false);
    EXPECT_EQ(ask(*fork, canvas, 0).logits, before.logits) << text << ": a fork must not see what its origin appends";
    // Rows of one call do not see each other, and come back in their order.
    std::vector<DenoiseRow> rows(2, {.sequence = sequence.get(), .request = {}});
    rows[1].sequence = fork.get();
    for (auto& row : rows) row.request.canvas = canvas, row.request.want_logits = true;
    const auto together = denoiser->denoise(rows);
    EXPECT_EQ(together[1].logits, before.logits) << text;
    EXPECT_EQ(together[0].logits, ask(*sequence, canvas, 0).logits) << text;
    Prompt wrong;
    wrong.ids = {7};
    EXPECT_THROW(denoiser->prefill(wrong), UserError) << text;
    EXPECT_EQ(denoisers().make(text)->content_hash(), denoiser->content_hash());
    EXPECT_FALSE(denoiser->content_hash().empty());
  }
  EXPECT_NE(denoisers().make("hmm(seed=1)")->content_hash(), denoisers().make("hmm(seed=2)")->content_hash());
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
