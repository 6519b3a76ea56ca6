// The law of what the samplers write, exactly: against generated canvases, and against the source where that is promised.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/exact_law.h"
#include "tests/support/table_source.h"

namespace canvaslab {
namespace {

using testing_support::ChainDenoiser;
using testing_support::reference_chain;

GenerationPlan plan_of(const Denoiser& denoiser, const std::string& sampler, int32_t steps, const std::string& temperature) {
  PlanRequest request;
  request.sampler = sampler;
  request.stop = "never";
  request.num_steps = steps;
  request.temperature = temperature;
  request.emission = "canvas";
  return resolve_plan(request, denoiser);
}

/// Chi-square of generated canvases against a law, and the limit it may reach with probability 0.0005.
void expect_draws_of(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const double> law) {
  constexpr int kDraws = 20000;
  std::vector<double> count(law.size(), 0.0);
  for (int item = 0; item < kDraws; ++item) {
    std::vector<RowInput> rows(1);
    rows[0].item = static_cast<uint64_t>(item);
    rows[0].seed = 3;
    size_t index = 0;
    const auto ids = generate(denoiser, plan, rows)[0].canvas_ids;
    for (int32_t token : ids) index = index * static_cast<size_t>(denoiser.facts().vocabulary) + static_cast<size_t>(token);
    ++count[index];
  }
  double chi_square = 0, rare = 0, rare_count = 0;
  int cells = -1;
  for (size_t i = 0; i < law.size(); ++i) {
    if (kDraws * law[i] < 5) {
      rare += law[i], rare_count += count[i];
      continue;
    }
    ++cells;
    chi_square += std::pow(count[i] - kDraws * law[i], 2) / (kDraws * law[i]);
  }
  EXPECT_LE(rare_count, kDraws * rare + 4 * std::sqrt(kDraws * rare) + 5);
  const double n = cells, limit = n * std::pow(1 - 2 / (9 * n) + 3.29 * std::sqrt(2 / (9 * n)), 3);  // Wilson-Hilferty
  EXPECT_LT(chi_square, limit) << plan.sampler.canonical << ", " << cells << " degrees of freedom, seed 3";
}

const std::vector<std::string> kPropagated = {"ddim", "entropy_bound(0.8)", "confidence_step", "flow_matching", "flow_matching(0.5)", "psi(0.4)", "psi(linear(1, 0))", "remdm(cap, 0.3)",
                                              "remdm(rescale, 0.7)", "ddim(cosine(0, 1))", "remdm(loop, 0.2)", "quota(entropy, mode=memoryless)", "quota(margin, budget=cumulative, mode=memoryless)", "med(0.7, mode=memoryless)"};

TEST(CatalogueLaw, GeneratedCanvasesAreDrawsOfTheExactLaw) {  // fourteen comparisons: all together 0.007
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=3, length=3, sharpness=1)");
  for (const auto& sampler : kPropagated) {
    const auto plan = plan_of(*denoiser, sampler, 3, "linear(1.2, 0.6)");
    expect_draws_of(*denoiser, plan, exact_law(*denoiser, plan));
  }
}

TEST(CatalogueLaw, EverySamplerThatDeclaresAProductLawIsCompared) {
  for (const auto& entry : samplers().entries())
    for (const std::string& text : std::vector<std::string>{entry.name, entry.name + "(mode=memoryless)", entry.name + "(score=entropy, mode=memoryless)"}) {
      ConfiguredSampler sampler;
      try {
        sampler = configure_sampler(parse_plugin(text));
      } catch (const UserError&) {
        continue;  // has no such parameters
      }
      if (!sampler.facts.product_law) continue;
      EXPECT_TRUE(std::any_of(kPropagated.begin(), kPropagated.end(), [&](const auto& compared) { return parse_plugin(compared).name == entry.name; })) << text;
    }
}

TEST(CatalogueLaw, OnePositionIsExactAtAnyNumberOfSteps) {  // the level known, temperature 1: marginals are preserved
  const ChainDenoiser known(reference_chain(), 1, true);
  const auto source = source_law(reference_chain(), 1);
  for (const char* sampler : {"flow_matching", "flow_matching(0.5)", "psi(0)", "psi(0.3)", "psi(linear(0, 1))", "psi(1)",
                              "remdm(cap, 0.05)", "remdm(cap, 1)", "remdm(rescale, 0.6)", "ddim(cosine(0, 1))", "ddim(sine)", "ddim(quarter_cosine)", "ddim(path=polynomial)",
                              "ddim(geometric_level)", "flow_matching(path=cosine(0, 1))", "psi(0.5, path=hold(level=0.5, begin=0.3, end=0.7))", "remdm(loop, 0.5)"})
    for (int32_t steps : {1, 2, 7})
      EXPECT_LT(total_variation(exact_law(known, plan_of(known, sampler, steps, "1")), source), 3e-6)
          << sampler << " in " << steps << " steps; logits are f32";
  EXPECT_GT(total_variation(exact_law(known, plan_of(known, "flow_matching(9)", 7, "1")), source), 1e-3)
      << "clipped rates break it: the comparison can fail";
  EXPECT_GT(total_variation(exact_law(known, plan_of(known, "psi(0.3)", 7, "0.5")), source), 1e-3);
}

TEST(CatalogueLaw, ConvergesToTheSourceWithAKnownLevel) {
  const ChainDenoiser known(reference_chain(), 4, true), unknown(reference_chain(), 4, false);
  const auto source = source_law(reference_chain(), 4);
  for (const char* sampler : {"ddim", "flow_matching", "flow_matching(0.2)", "psi(0.9)", "psi(0.5)", "remdm(cap, 0.02)", "remdm(rescale, 0.1)", "ddim(cosine(0, 1))",
                              "flow_matching(path=sine)", "remdm(loop, 0.05)"}) {
    const auto tv = [&](const Denoiser& denoiser, int32_t steps) { return total_variation(exact_law(denoiser, plan_of(denoiser, sampler, steps, "1")), source); };
    const double few = tv(known, 4), some = tv(known, 16), many = tv(known, 64), blind = tv(unknown, 64);
    EXPECT_LT(some, few) << sampler;
    EXPECT_LT(many, some) << sampler;
    EXPECT_LT(many, 0.03) << sampler;
    EXPECT_GT(blind, 2 * many) << sampler << ": without the level it must stall";
  }
}

TEST(CatalogueLaw, PsiWithKappaOneIsDdimAndRefusesWhatRemembers) {
  const ChainDenoiser known(reference_chain(), 3, true);
  EXPECT_EQ(exact_law(known, plan_of(known, "psi(1)", 5, "1")), exact_law(known, plan_of(known, "ddim", 5, "1")));
  EXPECT_LT(total_variation(exact_law(known, plan_of(known, "remdm(eta=0)", 5, "1")), exact_law(known, plan_of(known, "ddim", 5, "1"))), 1e-12);
  for (const char* sampler : {"quota", "quota(mode=memoryless)", "p2", "remdm(confidence=on)", "greedy_planner", "factor(mode=memoryless)"})
    EXPECT_THROW(exact_law(known, plan_of(known, sampler, 3, "1")), UserError) << sampler;
}

}  // namespace
}  // namespace canvaslab
