// %% [markdown]
// # Why parallel sampling errs
//
// A block diffusion model predicts every position of a canvas at once, but each prediction is a *marginal*: the law of one
// token, whatever the others turn out to be. Tokens drawn at the same step are therefore drawn independently of each other.
// If the true joint law has ties between them, the written text breaks these ties, however good the network is.
//
// This notebook takes the network's error away. The denoiser is the exact posterior of a small Markov chain, so what is
// left is the error of the sampler alone, and on a canvas this small it can be computed without drawing a single sample.

// %%
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
const std::string chain = "alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4";
const auto known = denoisers().make("markov(" + chain + ")");
const std::vector<double> truth =
    source_law(*known->source(), 4);  // [256] probability of each of the 4^4 canvases
const double joint_entropy = law_entropy(truth);
print("{} canvases, entropy {:.3f} nats ({:.3f} a token)", truth.size(), joint_entropy, joint_entropy / 4);

// %% [markdown]
// ## One step: the price is the total correlation
//
// At a single step the canvas is pure noise, so the exact posterior is the source's own marginal at each position. Drawing
// all four tokens from it gives the product of the marginals, q = p<sub>1</sub> p<sub>2</sub> p<sub>3</sub> p<sub>4</sub>,
// and its divergence from the truth p has a name:
//
// KL(p ‖ q) = H(p<sub>1</sub>) + H(p<sub>2</sub>) + H(p<sub>3</sub>) + H(p<sub>4</sub>) − H(p), the *total correlation*.
//
// `exact_law` lets the sampler decide on every possible canvas and integrates over all its draws. It knows nothing of this
// formula, so the two numbers check each other.

// %%
double sum_of_marginals = 0;
for (size_t position = 0; position < 4; ++position) {
  std::vector<double> marginal(4, 0.0);
  for (size_t i = 0; i < truth.size(); ++i)
    marginal[static_cast<size_t>(canvas_of_index(i, 4, 4)[position])] += truth[i];
  sum_of_marginals += law_entropy(marginal);
}
const double total_correlation = sum_of_marginals - joint_entropy;
const double one_step =
    kl_divergence(truth, exact_law(*known, plan_for(*known, {.sampler = "ddim", .steps = 1})));
print("total correlation                  {:.5f} nats", total_correlation);
print("KL(source || ddim after one step)  {:.5f} nats", one_step);
claim(std::abs(total_correlation - one_step) < 1e-5,
      "one step costs exactly the total correlation (equal to 1e-5: the logits are 32-bit)");
claim(total_correlation > 1,
      "the tokens of this chain are closely tied: {:.2f} nats are lost, the chain holds {:.2f}",
      total_correlation, joint_entropy);

// %% [markdown]
// ## More steps, and what the denoiser must know
//
// With more steps a token is settled in the sight of others that were settled before, and the error falls. Three ways to
// use N steps:
//
// - `ddim` follows the reverse of the corruption process. Its step is exact in the limit of many steps *if the denoiser
//   knows the noise level* of the canvas it sees.
// - The same sampler with a denoiser that is not told the level and averages over it, as DiffusionGemma must
//   (`use_level=false`).
// - `entropy_bound`, the sampler that DiffusionGemma ships with, also untold. It takes the positions with the lowest
//   entropy, draws noise for the others, and in the end emits the most likely token everywhere (`argmax`).
//
// Total variation is half the sum of |p − q| over all 256 canvases: the largest error in the probability of any event.

// %%
const auto unknown = denoisers().make("markov(" + chain + ", use_level=false)");
const std::vector<double> step_counts = {1, 2, 4, 8, 16, 32, 64, 128};
const auto errors = [&](const Denoiser& denoiser, notebook::Setting setting) {
  std::vector<double> out;
  for (const double n : step_counts) {
    setting.steps = static_cast<int32_t>(n);
    out.push_back(total_variation(exact_law(denoiser, plan_for(denoiser, setting)), truth));
  }
  return out;
};
const auto told = errors(*known, {.sampler = "ddim"});
const auto untold = errors(*unknown, {.sampler = "ddim"});
const auto bounded = errors(*unknown, {.sampler = "entropy_bound(0.1)", .emission = "argmax"});
print("total variation from the source");
print("steps   ddim, level known   ddim, level averaged   entropy_bound(0.1)");
for (size_t i = 0; i < step_counts.size(); ++i)
  print("{:5}   {:17.4f}   {:20.4f}   {:18.4f}", step_counts[i], told[i], untold[i], bounded[i]);

// %% [markdown]
// The picture has a logarithmic scale on both axes. A straight line that falls by one decade per decade is an error
// proportional to 1/N.

// %%
Figure figure =
    figure_of("Error of the sampler alone, exact", "denoising steps", "total variation from the source",
              {{"ddim, level known", marks(step_counts, told)},
               {"ddim, level averaged over", marks(step_counts, untold)},
               {"entropy_bound(0.1), argmax", marks(step_counts, bounded)}},
              "A Markov chain of 4 tokens on 4 positions: laws over all 256 canvases, propagated step by "
              "step. Nothing is sampled, hence no error bars.");
figure.x.scale = figure.y.scale = Scale::kLog10;
show(figure);
const double fall = told[6] / told[7];
claim(fall > 1.8 && fall < 2.2,
      "with the level known, twice the steps halve the error (a factor of {:.2f} from 64 to 128 steps)", fall);
claim(untold[7] > 0.9 * untold[4],
      "with the level averaged over, steps beyond 16 gain nothing ({:.3f} at 16, {:.3f} at 128)", untold[4],
      untold[7]);
claim(std::abs(bounded[7] - bounded[3]) < 0.001 && bounded[7] > 0.3,
      "the entropy bound's error does not depend on the step limit from 8 steps on ({:.3f})", bounded[7]);

// %% [markdown]
// ## What to take from it
//
// - The error of a step is made *between* positions. No better network removes it; more steps, or a better choice of what
//   is drawn together, do.
// - "Exact in the limit" is a property of a pair: a sampler that follows the corruption process, and a denoiser that knows
//   where on it the canvas lies. Take the level away and the error levels off.
// - The entropy bound converges as well, but to another law than the source's. At one step it is the *best* of the three:
//   the random canvas is the same for all positions, so it works as a shared seed that ties their tokens together. Which
//   sampler is best thus depends on the number of steps, and a comparison at one number says little.

// %%
claim(bounded[0] < untold[0] && untold[0] < told[0],
      "at one step the order is reversed: {:.3f} entropy bound, {:.3f} level averaged, {:.3f} level known",
      bounded[0], untold[0], told[0]);
claim(told[3] < untold[3] && untold[3] < bounded[3],
      "at 8 steps ddim with the level known leads: {:.3f} against {:.3f} and {:.3f}", told[3], untold[3],
      bounded[3]);
}
