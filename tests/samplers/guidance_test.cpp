// cfg: the guided logits, what they cost, and the laws that they write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/denoiser.h"
#include "core/model.h"
#include "core/sources/source.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;
using Tokens = std::vector<int32_t>;

const std::string kInner = "hmm(states=3, alphabet=5, length=6)";

std::unique_ptr<Sequence> context(const Denoiser& denoiser, const Tokens& ids) {
  Prompt prompt;
  prompt.ids = ids;
  return denoiser.prefill(prompt);
}

StepResult ask(const Denoiser& denoiser, Sequence& sequence, const Tokens& canvas, std::optional<double> level) {
  DenoiseRow row{.sequence = &sequence, .request = {}};
  row.request.canvas = canvas;
  row.request.noise_level = level;
  row.request.want_logits = true;
  row.request.wanted = {Statistic::kMax, Statistic::kEntropy};
  return std::move(denoiser.denoise(std::span(&row, 1)).front());
}

RowResult run(const Denoiser& denoiser, const std::string& sampler, int32_t steps, int32_t length, int32_t tokens, uint64_t item = 0, const Tokens& prompt = {1, 2}) {
  PlanRequest request;
  request.sampler = sampler;
  request.stop = "never";
  request.num_steps = steps, request.canvas_length = length, request.max_new_tokens = tokens;
  RowInput row;
  row.seed = 12, row.item = item, row.prompt.ids = prompt;
  return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1))[0];
}

/// (1 - s) u + s c rounds once in f64 a term, and once to f32.
void expect_guided(std::span<const float> got, std::span<const float> with, std::span<const float> without, double s) {
  ASSERT_EQ(got.size(), with.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double expected = (1 - s) * without[i] + s * with[i], terms = std::abs((1 - s) * without[i]) + std::abs(s * with[i]);
    EXPECT_NEAR(got[i], expected, std::abs(expected) * 0x1p-24 + terms * 0x1p-50) << "scale " << s << ", index " << i;
  }
}

TEST(Cfg, CombinesTheLogitsOfBothContextsAndTheirStatistics) {
  const auto inner = denoisers().make(kInner);
  const Tokens prompt = {1, 2}, committed = {4, 4, 0, 1, 3, 2}, canvas = {0, 4, 2, 2, 1, 3};
  for (const Tokens& unconditional : {Tokens{}, Tokens{3}})
    for (const double s : {0.0, 0.5, 2.0, 7.5}) {
      const auto guided = denoisers().make(fmt::format("cfg({}, scale={}, unconditional_ids=\"{}\")", kInner, s, fmt::join(unconditional, " ")));
      const auto g = context(*guided, prompt), c = context(*inner, prompt), u = context(*inner, unconditional);
      for (int canvas_idx = 0; canvas_idx < 2; ++canvas_idx) {
        const auto with = ask(*inner, *c, canvas, 0.4), without = ask(*inner, *u, canvas, 0.4), got = ask(*guided, *g, canvas, 0.4);
        EXPECT_NE(with.logits, without.logits) << "or nothing is tested";
        expect_guided(got.logits, with.logits, without.logits, s);
        for (size_t p = 0; p < canvas.size(); ++p) {
          double sum = 0, entropy = 0;
          for (size_t v = 0; v < 5; ++v) sum += std::exp(static_cast<double>(got.logits[p * 5 + v]));
          for (size_t v = 0; v < 5; ++v) entropy -= std::exp(got.logits[p * 5 + v]) / sum * (got.logits[p * 5 + v] - std::log(sum));
          EXPECT_NEAR(got.statistics.entropy_nats[p], entropy, 1e-5 * (1 + entropy));
        }
        const auto fork = g->fork();
        expect_guided(guided->next_logits(*g), inner->next_logits(*c), inner->next_logits(*u), s);
        const auto causal = inner->append(*c, committed, true), causal_without = inner->append(*u, committed, true);
        expect_guided(guided->append(*g, committed, true), causal, causal_without, s);
        EXPECT_EQ(ask(*guided, *fork, canvas, 0.4).logits, got.logits) << "a fork sees nothing of it";
      }
    }
}

TEST(Cfg, IsItsInnerDenoiserAtScaleOneAtNoFurtherCost) {
  const auto inner = denoisers().make(kInner), guided = denoisers().make("cfg(" + kInner + ", scale=1, unconditional_ids=3)"), other = denoisers().make("cfg(" + kInner + ", scale=3)");
  EXPECT_EQ(guided->content_hash(), inner->content_hash());
  const auto s = context(*guided, {1, 2}), t = context(*inner, {1, 2});
  EXPECT_EQ(ask(*guided, *s, {0, 4, 2, 2, 1, 3}, 0.4).logits, ask(*inner, *t, {0, 4, 2, 2, 1, 3}, 0.4).logits);
  for (const char* sampler : {"entropy_bound", "ddim"}) {
    const auto a = run(*inner, sampler, 4, 6, 12), b = run(*guided, sampler, 4, 6, 12);
    EXPECT_EQ(a.canvas_ids, b.canvas_ids);
    EXPECT_EQ(b.forwards.unconditional, 0);
    EXPECT_EQ(run(*other, sampler, 4, 6, 12, 0, {}).canvas_ids, run(*inner, sampler, 4, 6, 12, 0, {}).canvas_ids) << "without a prompt there is nothing to guide towards";
  }
}

TEST(Cfg, CountsItsForwardsAsUnconditional) {
  const auto forwards = [](const std::string& denoiser, const std::string& sampler = "fixed_step") { return run(*denoisers().make(denoiser), sampler, 3, 6, 12).forwards; };
  const auto plain = forwards("cfg(" + kInner + ")");
  EXPECT_EQ(plain.denoise, 6);
  EXPECT_EQ(plain.append, 1);
  EXPECT_EQ(plain.prefill, 1);
  EXPECT_EQ(plain.unconditional, 7) << "one beside each of both kinds; an empty prompt takes none";
  EXPECT_EQ(forwards("cfg(" + kInner + ", unconditional_ids=\"3 1\")").unconditional, 8) << "and its prefill";
  EXPECT_EQ(forwards("perturbed(cfg(" + kInner + "), noise=1)").unconditional, 7);
  EXPECT_EQ(forwards("cfg(cfg(" + kInner + "))").unconditional, 3 * 7) << "four contexts, one of them with the prompt alone";
  for (const char* sampler : {"loo_corrector", "causal_verify(fixed_step)"}) {
    const auto extra = forwards("cfg(" + kInner + ")", sampler);
    EXPECT_EQ(extra.unconditional, extra.denoise + extra.verify + extra.append) << sampler;
  }
  const auto denoiser = denoisers().make("cfg(" + kInner + ")");
  const auto report = run(*denoiser, "fixed_step", 3, 6, 12);
  EXPECT_DOUBLE_EQ(report.tokens_per_forward_report, 12.0 / 14);
}

/// Laws of the next token behind a prompt and some tokens, from the source alone: tilted by scale s.
std::vector<double> tilted(const Source& source, const Tokens& prompt, const Tokens& tokens, double s) {
  std::vector<double> law;
  for (int32_t v = 0; v < source.vocabulary(); ++v) {
    Tokens more = tokens;
    more.push_back(v);
    const double before_c = source.log_prob(tokens, prompt), before_u = source.log_prob(tokens, {});
    law.push_back(std::exp((1 - s) * (source.log_prob(more, {}) - before_u) + s * (source.log_prob(more, prompt) - before_c)));
  }
  const double sum = std::accumulate(law.begin(), law.end(), 0.0);
  for (double& p : law) p /= sum;
  return law;
}

double chi_square(const std::vector<double>& count, const std::vector<double>& law) {
  const double n = std::accumulate(count.begin(), count.end(), 0.0);
  double out = 0;
  for (size_t i = 0; i < law.size(); ++i) out += std::pow(count[i] - n * law[i], 2) / (n * law[i]);
  return out;
}

TEST(Cfg, WritesTheTiltedLawOfAPrompt) {  // 4,000 texts each; seed 12; ddim tells its level, so that the noise it starts from says nothing
  const Tokens prompt = {2, 2};
  for (const double s : {0.0, 0.6, 3.0}) {
    const auto denoiser = denoisers().make(fmt::format("cfg(hmm(states=3, alphabet=3, sharpness=2), scale={})", s));
    std::vector<double> first(3, 0.0), pairs(9, 0.0), pair_law(9);
    for (uint64_t item = 0; item < 4000; ++item) {
      ++first[static_cast<size_t>(run(*denoiser, "ddim", 1, 1, 1, item, prompt).token_ids[0])];
      const auto two = run(*denoiser, "causal_verify(fixed_step)", 1, 2, 2, item, prompt).token_ids;
      ++pairs[static_cast<size_t>(two[0] * 3 + two[1])];
    }
    const auto law = tilted(*denoiser->source(), prompt, {}, s), unguided = tilted(*denoiser->source(), prompt, {}, 1);
    for (int32_t a = 0; a < 3; ++a)
      for (int32_t b = 0; b < 3; ++b) pair_law[static_cast<size_t>(a * 3 + b)] = law[static_cast<size_t>(a)] * tilted(*denoiser->source(), prompt, {a}, s)[static_cast<size_t>(b)];
    // Chi-square at p = 1e-4: 18.42 with 2 degrees of freedom, 31.83 with 8.
    EXPECT_LT(chi_square(first, law), 18.42) << "scale " << s;
    EXPECT_GT(chi_square(first, unguided), 2 * 18.42) << "scale " << s << ": the unguided law must fail, or nothing was tested";
    EXPECT_LT(chi_square(pairs, pair_law), 31.83) << "scale " << s << ", verified in the guided causal mode";
  }
}

TEST(Cfg, SaysWhereGuidanceHasNoLaw) {
  const auto complaint = [](const std::string& text) -> std::string {
    try {
      run(*denoisers().make(text), "fixed_step", 1, 4, 4);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  // Behind 1 2 a copy of it follows; behind 3 4 another.
  const std::string copy = "cfg(copy(alphabet=5, span=2, slip=0), unconditional_ids=\"3 4\", scale=";
  EXPECT_THAT(complaint(copy + "2)"), HasSubstr("canvas 0, step 0, position 0: token 1 is possible with the prompt and impossible without it"));
  EXPECT_THAT(complaint(copy + "0.5)"), HasSubstr("NaN or infinite at canvas 0, step 0, position 0")) << "no token is possible in both";
  EXPECT_EQ(complaint(copy + "0)"), "");
  EXPECT_EQ(complaint(copy + "1)"), "");
  EXPECT_THROW(denoisers().make("cfg(" + kInner + ", scale=-1)"), UserError);
  EXPECT_THROW(denoisers().make("cfg(" + kInner + ", unconditional_ids=5)"), UserError);
  EXPECT_THROW(denoisers().make("cfg(" + kInner + ", scale=1, unconditional_ids=x)"), UserError);
  EXPECT_THROW(denoisers().make("cfg(scale=2)"), UserError);
}

TEST(Checkpoint, OpensAFolderInsideAnotherDenoiser) {
  const CheckpointLoader before = checkpoint_loader();
  std::vector<std::string> opened;
  checkpoint_loader() = [&](const std::string& folder, const ModelOptions& options) {
    opened.push_back(folder + " " + options.dtype + " " + options.device);
    return denoisers().make(kInner);
  };
  const std::string folder = testing::TempDir();
  const auto guided = denoisers().make(fmt::format("cfg(checkpoint(\"{}\", dtype=bf16), scale=2)", folder));
  EXPECT_EQ(guided->content_hash(), denoisers().make("cfg(" + kInner + ", scale=2)")->content_hash()) << "what counts is what is in the folder";
  EXPECT_THAT(opened, testing::ElementsAre(folder + " bf16 cpu"));
  EXPECT_THROW(denoisers().make("checkpoint(\"/no/such/folder\")"), UserError);
  EXPECT_THROW(denoisers().make(fmt::format("checkpoint(\"{}\", dtype=f64)", folder)), UserError);
  checkpoint_loader() = before;
}

}  // namespace
}  // namespace canvaslab
