// %% [markdown]
// # Add your own sampler
//
// A sampler is one file. It sees a few numbers per position (`view.statistics`, computed in one pass over the logits) and
// says what happens to every position:
//
// - `kKeep`: keep the token;
// - `kCandidate`: take the token drawn for the position at this step;
// - `kArgmax`: take the most likely token;
// - `kNoise`: take fresh noise;
// - `kToken`: take a token that the sampler names.
//
// It never touches tokens, noise or random generators: that is the engine's work, and the reason why every sampler is
// reproducible, can be batched, traced and compared on the same noise.
//
// The idea of this one: noise may be a waste. Let every position draw its token anew with a probability `rate`, and keep it
// otherwise. At rate 1 all positions move at once, blind to each other; at a low rate they move a few at a time, each
// in the sight of the others. The following cell is the whole file, as it would stand in `samplers/refresh.cpp`.

// %%
// refresh - every position draws its token anew with some probability; the rest keep theirs.
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Source: ours. At the last step every position is drawn, so that no token of the start canvas is left.
class Refresh final : public Sampler {
 public:
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    const double rate = view.is_last ? 1 : view.knobs[0];
    decision.action.assign(view.length(), Action::kKeep);
    for (size_t p = 0; p < view.length(); ++p)
      if (view.uniform(Purpose::kSampler, p) < rate) decision.action[p] = Action::kCandidate;
  }
};

[[maybe_unused]] const bool registered = samplers().add(
    {.name = "refresh",
     .summary = "draw every position anew with a probability, keep the rest; all at the last step",
     .source = "ours",
     .aliases = {},
     .parameters = {schedule_param("rate", 0.5, 0, 1, "probability", "of drawing a position anew at a step")},
     .facts = {.statistics = {Statistic::kCandidate},
               .revocable = true,
               .edits_only = true,
               .product_law = true,
               .default_emission = "canvas"},
     .make = [](const Options&) { return std::make_unique<Refresh>(); }});

}  // namespace
}  // namespace canvaslab

// %% [markdown]
// `facts` is what the sampler promises; the contract tests hold it to that. Only the statistics that it names are computed.
// `product_law` says that a position's fate depends on no other position's draw, which opens the exact judgment below.
//
// The name works at once wherever samplers are named: on the command line, in sweep files, inside other plug-ins. The
// parameter table makes the help, the parsing and the error messages; a knob declared by `schedule_param` may also change
// over the steps.

// %%
#include <numeric>

#include "core/error.h"
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
print("{}", samplers().canonical("refresh(rate=linear(1, 0.2))"));
std::string refusal;
try {
  configure_sampler(parse_plugin("refresh(rte=0.3)"));
} catch (const UserError& error) {
  refusal = error.what();
}
print("{}", refusal);
claim(refusal.find("rate") != std::string::npos,
      "a wrong parameter is refused, and the message names the right one");

// %% [markdown]
// ## Does it do what it says?
//
// On a small canvas the law of everything it can write is computed exactly: `exact_law` asks the sampler itself for a
// decision on each possible canvas. 20,000 generated canvases must be a sample of that law. The statistic is Pearson's
// χ², whose mean is its number of degrees of freedom; cells that expect fewer than 5 canvases are put together.

// %%
const auto chain = [](int seed) {
  return denoisers().make(fmt::format(
      "markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4, use_level=false, seed={})", seed));
};
const auto tuning_chain = chain(1);
const GenerationPlan plan = plan_for(*tuning_chain, {.sampler = "refresh(0.5)", .steps = 4});
const std::vector<double> law = exact_law(*tuning_chain, plan);
constexpr size_t kCanvases = 20000;
std::vector<double> count(law.size(), 0.0);
for (const auto& text : texts_of(generate_many(*tuning_chain, plan, kCanvases)))
  ++count[static_cast<size_t>(
      std::accumulate(text.begin(), text.end(), 0, [](int i, int t) { return 4 * i + t; }))];
double chi_square = 0, rare = 0, rare_count = 0;
int freedom = 0;  // common cells and the one of rare canvases, less one
for (size_t i = 0; i < law.size(); ++i) {
  const double expected = law[i] * kCanvases;
  if (expected < 5)
    rare += expected, rare_count += count[i];
  else
    chi_square += (count[i] - expected) * (count[i] - expected) / expected, ++freedom;
}
chi_square += (rare_count - rare) * (rare_count - rare) / rare;
print("chi-square {:.1f} at {} degrees of freedom", chi_square, freedom);
claim(chi_square < freedom + 4 * std::sqrt(2.0 * freedom),
      "what it writes is a sample of its law (within 4 standard deviations)");

// %% [markdown]
// ## Is it any good?
//
// Total variation from the source, for each rate and number of steps, on one chain. The denoiser is not told the noise
// level, as a network is not.

// %%
const std::vector<double> step_counts = {1, 2, 4, 8, 16, 32};
const std::vector<double> rates = {1, 0.5, 0.25, 0.125, 0.0625};
const auto law_on = [](const Denoiser& denoiser, const std::string& sampler, double steps,
                       const std::string& emission) {
  const notebook::Setting setting{
      .sampler = sampler, .steps = static_cast<int32_t>(steps), .emission = emission};
  return exact_law(denoiser, plan_for(denoiser, setting));
};
const auto error_on = [&](const Denoiser& denoiser, const std::string& sampler, double steps,
                          const std::string& emission) {
  return total_variation(law_on(denoiser, sampler, steps, emission), source_law(*denoiser.source(), 4));
};
std::vector<double> best_rate(step_counts.size(), 1.0), best_error(step_counts.size(), 1.0);
print("steps     rate 1   rate 1/2   rate 1/4   rate 1/8  rate 1/16");
for (size_t n = 0; n < step_counts.size(); ++n) {
  std::string row = fmt::format("{:5}", step_counts[n]);
  for (const double rate : rates) {
    const double error = error_on(*tuning_chain, fmt::format("refresh({})", rate), step_counts[n], "canvas");
    row += fmt::format(" {:10.3f}", error);
    if (error < best_error[n]) best_error[n] = error, best_rate[n] = rate;
  }
  print("{}", row);
}
for (size_t n = 1; n < step_counts.size(); ++n)
  claim(best_rate[n] * step_counts[n] == 2, "at {} steps the best of these rates is {}: 2 draws per position",
        step_counts[n], best_rate[n]);
const double few = error_on(*tuning_chain, "refresh(1)", 4, "canvas");
const double many = error_on(*tuning_chain, "refresh(1)", 32, "canvas");
claim(many > few + 0.1,
      "too many draws do harm: at rate 1 the error rises from {:.2f} at 4 steps to {:.2f} at 32", few, many);
const double entropy_left = law_entropy(law_on(*tuning_chain, "refresh(1)", 32, "canvas"));
const double entropy_true = law_entropy(source_law(*tuning_chain->source(), 4));
claim(entropy_left < 0.7 * entropy_true, "and the entropy of what is written falls to {:.2f} nats, of {:.2f}",
      entropy_left, entropy_true);

// %% [markdown]
// Two things are seen. The error is least where every position is drawn about twice, whatever the number of steps; more
// steps then only mean that fewer positions move at once. And beyond that the text decays: the denoiser averages over the
// noise level, a canvas without contradictions looks clean to it, so it confirms what stands there and the likely texts
// grow at the cost of the others.
//
// The rate was *chosen* by looking at the error, so its error on this chain flatters. The honest figure comes from chains
// it was not chosen on: five others of the same family, mean of the total variation.

// %%
const auto mean_over_others = [&](const std::string& sampler, double steps, const std::string& emission) {
  double sum = 0;
  for (int seed = 2; seed <= 6; ++seed) sum += error_on(*chain(seed), sampler, steps, emission) / 5;
  return sum;
};
std::vector<double> ours, ddim, bound;
print("steps   refresh(tuned)    ddim   entropy_bound(0.1)");
for (size_t n = 0; n < step_counts.size(); ++n) {
  ours.push_back(mean_over_others(fmt::format("refresh({})", best_rate[n]), step_counts[n], "canvas"));
  ddim.push_back(mean_over_others("ddim", step_counts[n], "canvas"));
  bound.push_back(mean_over_others("entropy_bound(0.1)", step_counts[n], "argmax"));
  print("{:5} {:16.3f} {:7.3f} {:20.3f}", step_counts[n], ours.back(), ddim.back(), bound.back());
}
Figure figure = figure_of(
    "A sampler of 10 lines on chains it was not tuned on", "denoising steps", "total variation from the source",
    {{"refresh, rate tuned on another chain", marks(step_counts, ours)},
     {"ddim, level averaged over", marks(step_counts, ddim)},
     {"entropy_bound(0.1), argmax", marks(step_counts, bound)}},
    "Mean over five Markov chains of 4 tokens on 4 positions, exact; the denoiser is not told the "
    "noise level.");
figure.x.scale = Scale::kLog10;
show(figure);
claim(ours[1] < ddim[1] && ours[2] < ddim[2] && ours[3] < ddim[3],
      "from 2 to 8 steps it is closer to the source than ddim");
claim(ours[5] > ddim[5], "at 32 steps it is not: {:.3f} against {:.3f}", ours[5], ddim[5]);
claim(ours[2] < bound[2] && bound[1] < ours[1], "it passes the entropy bound from 4 steps on");

// %% [markdown]
// Ten lines, and worth a second look at few steps. What is *not* shown: that it helps with a learned denoiser, on longer
// canvases or larger alphabets, where noise is easier to tell from text. `perturbed(...)` and `canvaslab sweep` are the
// next steps.
//
// ## To keep it
//
// 1. Put the cell of the sampler into `samplers/refresh.cpp`. The build picks it up; `canvaslab list samplers` shows it.
// 2. Add its name to `tests/contract/registries_test.cpp`: the contract tests (pins, progress, undeclared statistics,
//    canvases that do not know each other, ...) then run on it.
// 3. Put a test of what is special about it under `tests/samplers/`.
//
// This notebook's sampler is run through the same contract checks by the tests.

// %%
claim(samplers().contains("refresh"), "registered beside {} others, without a change to any other file",
      samplers().entries().size() - 1);
}
