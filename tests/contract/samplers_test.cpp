// Every registered sampler against the generic contract, G1 to G10. G7 (host equals device) has no device form to
// compare.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/denoiser.h"
#include "samplers/contract.h"
#include "tests/support/step.h"

namespace canvaslab {
namespace {

class EverySampler : public ::testing::TestWithParam<std::string> {
 protected:
  ConfiguredSampler sampler = configure_sampler(parse_plugin(GetParam()));
};

TEST_P(EverySampler, G1MovesWithItsPositionsWhereItSaysSo) {
  if (!sampler.facts.permutation_equivariant) GTEST_SKIP() << GetParam() << " declares an order of positions";
  EXPECT_EQ(contract::moves_with_its_positions(sampler), "");
}
TEST_P(EverySampler, G3AndG9DecidesAlikeTwiceReadingOnlyWhatItDeclares) {
  EXPECT_EQ(contract::reads_only_what_it_declares(sampler), "");
}
TEST_P(EverySampler, G4AndG5KeepsItsProgressAndLastStepContract) {
  EXPECT_EQ(contract::keeps_its_progress_contract(sampler), "");
}
TEST_P(EverySampler, G6RefusesStatisticsThatAreNoNumbers) {
  EXPECT_EQ(contract::refuses_statistics_that_are_no_numbers(sampler), "");
}
TEST_P(EverySampler, KeepsItsProductLawWhereItDeclaresOne) {
  if (!sampler.facts.product_law) GTEST_SKIP() << GetParam() << " declares none";
  EXPECT_EQ(contract::keeps_its_product_law(sampler), "");
}
TEST_P(EverySampler, DecidesByTheJointBoundItDeclares) { EXPECT_EQ(contract::keeps_its_joint_bound(sampler), ""); }
TEST_P(EverySampler, G8ForgetsTheCanvasBefore) { EXPECT_EQ(contract::forgets_the_canvas_before(sampler), ""); }

TEST_P(EverySampler, G2AndG3GeneratesTheSameTokensInAnyCompanyAndKeepsPins) {
  EXPECT_EQ(contract::generates_alike_in_any_company(GetParam()), "");
}
TEST_P(EverySampler, GeneratesDifferentTokensForDifferentItems) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=7, length=8)");
  PlanRequest request;
  request.sampler = GetParam();
  request.num_steps = 6;
  request.max_new_tokens = 16;
  std::vector<RowInput> rows(2);
  rows[1].item = 1;
  const auto results = generate(*denoiser, resolve_plan(request, *denoiser), rows);
  EXPECT_NE(results[0].canvas_ids, results[1].canvas_ids);
}

/// Every sampler as it comes, and the variants whose code or facts differ.
std::vector<std::string> samplers_and_variants() {
  std::vector<std::string> out;
  for (const auto& entry : samplers().entries())
    if (contract::has_defaults(entry)) out.push_back(entry.name);
  for (const char* rule : {"confidence_threshold", "factor", "frechet", "med"}) out.push_back(fmt::format("{}(mode=memoryless)", rule));
  for (const char* score : {"entropy", "margin", "probability"})
    for (const char* mode : {"locked", "memoryless"}) out.push_back(fmt::format("quota(score={}, budget=ratio, mode={})", score, mode));
  for (const char* text :
       {"entropy_bound_locked(score=margin)", "block_refinement(threshold=0.5, editing_threshold=0.6)", "flow_matching(corrector=3)", "greedy_planner(score=entropy)",
        "p2(eta=0)", "p2(eta=4, exponent=2)", "psi(kappa=linear(0, 1))", "remdm(rate=rescale, eta=1)", "remdm(rate=cap, eta=1, confidence=on)",
        "wino(threshold=0.1, back_threshold=1)", "wino(threshold=0.1, loo_nats=0, verify=loo)", "slowfast(threshold=0.4, exploration_steps=1, stability=0)",
        "self_correction(tokens_per_step=3, patience=1)", "dus(base=3)", "joint_threshold(threshold=1, edit_threshold=0.5, max_post_edit_steps=0)",
        "spacing(inner=quota(margin), distance=3)", "spacing(inner=block_refinement(editing_threshold=0.2), distance=3, same_token=on)", "spacing(inner=confidence_step, distance=5)",
        "cap(inner=spacing(inner=fixed_step), max_accepted=linear(1, 9))", "ban(inner=fixed_step, ids=\"1 2 3\")", "ban(inner=confidence_threshold(mode=memoryless), ids=0)",
        "never_lock_special(inner=quota, ids=\"1 2 3\")", "never_lock_special(inner=dus, ids=\"0 4\")",
        "quota(count=binomial)", "quota(score=entropy, count=binomial, mode=memoryless)", "credit(0.3, decay=0)", "end_fill(inner=fixed_step, end_ids=\"1 2 3\")",
        "shuffled(inner=fixed_step)", "shuffled(inner=klass)", "token_reset(threshold=1, max_share=1)", "token_reset(inner=fixed_step, detector=drop, threshold=0)", "token_reset(inner=block_refinement(editing_threshold=0.5), detector=contradiction)"})
    out.push_back(text);
  return out;
}
std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string out;
  for (char c : info.param)
    if (std::isalnum(static_cast<unsigned char>(c)) || (c == '_' && !out.empty())) out += c;
  return out;
}
INSTANTIATE_TEST_SUITE_P(Registry, EverySampler, ::testing::ValuesIn(samplers_and_variants()), test_name);

// --- each check is fed a sampler that breaks it

using StepFunction = std::function<void(const StepView&, CanvasState&, StepDecision&)>;
class Made final : public Sampler {
 public:
  Made(StepFunction step, bool forgets) : step_(std::move(step)), forgets_(forgets) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    if (forgets_ || state.revealed.size() != length) Sampler::begin(state, length, num_steps);
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    step_(view, state, decision);
  }

 private:
  StepFunction step_;
  bool forgets_;
};
ConfiguredSampler made(SamplerFacts facts, StepFunction step, bool forgets = true) {
  return {.name = "made",
          .canonical = "made",
          .facts = facts,
          .sampler = std::make_unique<Made>(std::move(step), forgets),
          .knobs = {}};
}
SamplerFacts reading(StatisticSet statistics) {
  SamplerFacts facts;
  facts.statistics = statistics;
  return facts;
}
SamplerFacts with(bool SamplerFacts::*flag) {
  SamplerFacts facts;
  facts.*flag = true;
  return facts;
}
SamplerFacts taking_one() {
  SamplerFacts facts;
  facts.min_accepted = 1;
  return facts;
}
void fill(const StepView& view, StepDecision& decision, Action action) {
  decision.action.assign(view.length(), action);
}

/// Says it decides by a joint bound, and takes one position too few.
class Shy final : public Sampler {
 public:
  std::optional<double> joint_entropy_bound(std::span<const double>) const override { return 3; }
  void step(const StepView& view, CanvasState&, StepDecision& d) const override {
    d.action.assign(view.length(), Action::kNoise);
    double sum = 0;
    for (const uint32_t p : order_by(view.statistics->entropy_nats, view.allowed)) {
      sum += view.statistics->entropy_nats[p];
      if (sum > 3) break;
      d.action[p] = Action::kCandidate;
    }
  }
};

TEST(WrongSampler, IsCaughtByEachCheck) {
  EXPECT_THAT(contract::keeps_its_joint_bound({.name = "shy", .canonical = "shy", .facts = reading({Statistic::kEntropy, Statistic::kCandidate}), .sampler = std::make_unique<Shy>(), .knobs = {}}),
              ::testing::HasSubstr("not that of the joint bound that it declares, 3"));

  const auto first_only = made({}, [](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, Action::kNoise), d.action[0] = Action::kCandidate;
  });
  EXPECT_NE(contract::moves_with_its_positions(first_only), "");

  auto calls = std::make_shared<int>(0);
  const auto counts_calls = made({}, [calls](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, ++*calls % 2 ? Action::kNoise : Action::kKeep);
  });
  EXPECT_NE(contract::reads_only_what_it_declares(counts_calls), "");

  const auto peeks = made(reading({Statistic::kCandidate}), [](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, Action::kNoise);
    for (size_t p = 0; p < view.length(); ++p)
      d.action[p] = view.statistics->argmax_logprob[p] > -1 ? Action::kCandidate : Action::kNoise;
  });
  EXPECT_NE(contract::reads_only_what_it_declares(peeks), "");

  const auto idle =
      made(taking_one(), [](const StepView& view, CanvasState&, StepDecision& d) { fill(view, d, Action::kNoise); });
  EXPECT_THAT(contract::keeps_its_progress_contract(idle), ::testing::HasSubstr("at least 1 are due"));
  const auto leaves_noise =
      made(with(&SamplerFacts::fixed_steps),
           [](const StepView& view, CanvasState&, StepDecision& d) { fill(view, d, Action::kNoise); });
  EXPECT_THAT(contract::keeps_its_progress_contract(leaves_noise),
              ::testing::HasSubstr("left as noise by the last step"));
  const auto unlocks = made(with(&SamplerFacts::locks), [](const StepView& view, CanvasState& state, StepDecision& d) {
    fill(view, d, Action::kCandidate);
    for (size_t p = 0; p < view.length(); ++p) state.revealed[p] = view.is_allowed(p) && view.step_idx % 2 == 0;
  });
  EXPECT_THAT(contract::keeps_its_progress_contract(unlocks), ::testing::HasSubstr("changes after it was revealed"));
  const auto undeclared = made({}, [](const StepView& view, CanvasState& state, StepDecision& d) {
    fill(view, d, Action::kKeep), state.revealed.assign(view.length(), 1);
  });
  EXPECT_THAT(contract::keeps_its_progress_contract(undeclared), ::testing::HasSubstr("facts do not declare"));
  const auto pins = made(with(&SamplerFacts::locks), [](const StepView& view, CanvasState& state, StepDecision& d) {
    fill(view, d, Action::kKeep), state.revealed.assign(view.length(), 1);
  });
  EXPECT_THAT(contract::keeps_its_progress_contract(pins), ::testing::HasSubstr("pinned position"));
  const auto too_few =
      made({}, [](const StepView&, CanvasState&, StepDecision& d) { d.action.assign(1, Action::kKeep); });
  EXPECT_THAT(contract::keeps_its_progress_contract(too_few), ::testing::HasSubstr("actions for"));
  const auto no_token = made({}, [](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, Action::kToken), d.token.assign(view.length(), view.vocabulary);
  });
  EXPECT_THAT(contract::keeps_its_progress_contract(no_token), ::testing::HasSubstr("no token of the vocabulary"));

  const auto remembers = made(
      with(&SamplerFacts::locks),
      [](const StepView& view, CanvasState& state, StepDecision& d) {
        fill(view, d, state.scratch.empty() ? Action::kNoise : Action::kKeep);
        state.scratch.push_back(1);
      },
      false);
  EXPECT_NE(contract::forgets_the_canvas_before(remembers), "");
  const auto looks_around = made(with(&SamplerFacts::product_law), [](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, view.statistics->candidate[0] > 20 ? Action::kNoise : Action::kKeep);
  });
  EXPECT_THAT(contract::keeps_its_product_law(looks_around), ::testing::HasSubstr("other candidates"));
  const auto stateful = made(with(&SamplerFacts::product_law), [](const StepView& view, CanvasState& state, StepDecision& d) {
    fill(view, d, Action::kKeep), state.scratch.push_back(1);
  });
  EXPECT_THAT(contract::keeps_its_progress_contract(stateful), ::testing::HasSubstr("remembers something"));
  EXPECT_NE(contract::pins_hold({1, 2, 3}, {{1, 7}}), "");
}

TEST(WrongSampler, CannotMoveAPinnedPosition) {
  const auto denoiser = denoisers().make("hmm(states=4, alphabet=7, length=8)");
  GenerationPlan plan = resolve_plan({}, *denoiser);
  plan.sampler = made({}, [](const StepView& view, CanvasState&, StepDecision& d) {
    fill(view, d, Action::kToken), d.token.assign(view.length(), 3);
  });
  plan.num_steps = 2;
  std::vector<RowInput> rows(1);
  rows[0].pins = {{0, 6}, {7, 1}};
  for (Emission emission : {Emission::kArgmax, Emission::kCanvas}) {
    plan.emission = emission;
    EXPECT_EQ(contract::pins_hold(generate(*denoiser, plan, rows)[0].canvas_ids, rows[0].pins), "");
  }
}

TEST(Samplers, G10RefuseWhatTheTableDoesNotAllow) {
  for (const auto& entry : samplers().entries()) {
    EXPECT_THROW(configure_sampler(parse_plugin(entry.name + "(no_such_key=1)")), UserError);
    if (!contract::has_defaults(entry)) continue;
    EXPECT_EQ(contract::refuses_what_its_table_forbids(entry.name, entry.parameters, [](const PluginExpr& expr) { configure_sampler(expr); }), "") << entry.name;
    for (const auto& alias : entry.aliases) EXPECT_EQ(configure_sampler(parse_plugin(alias)).name, entry.name);
    EXPECT_EQ(samplers().canonical(samplers().canonical(entry.name)), samplers().canonical(entry.name));
  }
}

TEST(WrongTable, IsCaught) {
  const std::vector<ParamSpec> table = {real_param("x", 0.5, 0, 1, "", "a number")};
  const auto complaint = [&](auto make) { return contract::refuses_what_its_table_forbids("made", table, make); };
  const auto resolve = [&](const PluginExpr& expr) { resolve_options("sampler", "made", table, expr); };
  EXPECT_EQ(complaint(resolve), "");
  EXPECT_THAT(complaint([](const PluginExpr&) {}), ::testing::HasSubstr("unknown key"));
  EXPECT_THAT(complaint([](const PluginExpr&) { throw usage_error("no"); }), ::testing::HasSubstr("own defaults"));
  EXPECT_THAT(complaint([&](const PluginExpr& expr) {
                if (expr.arguments.empty() || expr.arguments[0].key != "x" || expr.text() != "made(x=2)") resolve(expr);
              }),
              ::testing::HasSubstr("above its largest"));
  EXPECT_THAT(complaint([&](const PluginExpr& expr) {
                resolve(expr);
                if (expr.text() == "made(x=0)") throw usage_error("no");
              }),
              ::testing::HasSubstr("refuses its least"));
}

}  // namespace
}  // namespace canvaslab
