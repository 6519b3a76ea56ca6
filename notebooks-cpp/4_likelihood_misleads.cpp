// %% [markdown]
// # Likelihood misleads
//
// It is common to judge generated text by its likelihood under a good model ("generative perplexity"): the lower the
// negative log-likelihood (NLL), the better the text is said to be. On a source whose law is known this can be put to the
// test, and it fails: samplers that collapse onto a few likely texts look *better than the source itself*.
//
// Two identities explain it. Let p be the law of the source and q that of the sampler. Then
//
// NLL = −∑ q(x) ln p(x) = H(q) + KL(q ‖ p)
//
// so the NLL falls when the text is closer to the source (KL falls), and just as well when it is less varied (H falls).
// Only the first is quality.

// %%
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
const auto known = denoisers().make("markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4)");
const auto model =
    denoisers().make("markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4, use_level=false)");
const std::vector<double> truth = source_law(*known->source(), 4);  // [256]
struct Row {
  std::string name;
  double nll, entropy, kl, variation;  // nats per token, nats per token, nats per token, total variation
};
const auto judge = [&](const std::string& name, const std::vector<double>& law) {
  return Row{name, cross_entropy(law, truth) / 4, law_entropy(law) / 4, kl_divergence(law, truth) / 4,
             total_variation(law, truth)};
};
const auto written = [](const Denoiser& denoiser, const notebook::Setting& setting) {
  return exact_law(denoiser, plan_for(denoiser, setting));
};
std::vector<Row> rows = {judge("the source", truth)};
rows.push_back(judge("ddim, level known, 16 steps", written(*known, {.sampler = "ddim", .steps = 16})));
rows.push_back(judge("ddim, level known, 4 steps", written(*known, {.sampler = "ddim", .steps = 4})));
rows.push_back(judge("ddim, level averaged, 16 steps", written(*model, {.sampler = "ddim", .steps = 16})));
const std::string annealed = "linear_remaining(0.4, 0.8)";
rows.push_back(judge("entropy_bound(0.1), argmax, T = 1",
                     written(*model, {.sampler = "entropy_bound(0.1)", .steps = 16, .emission = "argmax"})));
rows.push_back(judge(
    "entropy_bound(0.1), argmax, T 0.8 to 0.4",
    written(*model,
            {.sampler = "entropy_bound(0.1)", .steps = 16, .temperature = annealed, .emission = "argmax"})));
std::vector<double> constant(truth.size(), 0.0);
constant[static_cast<size_t>(std::max_element(truth.begin(), truth.end()) - truth.begin())] = 1;
rows.push_back(judge("always the likeliest text", constant));
print("                                            nats per token");
print("                                           NLL  entropy     KL   total variation");
for (const Row& row : rows)
  print("{:40} {:5.3f}  {:7.3f}  {:5.3f}   {:15.3f}", row.name, row.nll, row.entropy, row.kl, row.variation);

// %% [markdown]
// Read the first column alone, and the ranking is upside down. Writing the likeliest text over and over has the best score
// of all. The identity holds in every row.

// %%
for (const Row& row : rows)
  claim(std::abs(row.nll - row.entropy - row.kl) < 1e-9, "{}: NLL = entropy + KL", row.name);
const Row &source = rows[0], &good = rows[1], &eb = rows[5], &one_text = rows.back();
claim(eb.nll<source.nll && eb.variation> 0.3,
      "the entropy bound with DiffusionGemma's temperatures has a better NLL than the source ({:.3f} against "
      "{:.3f}) at a total variation of {:.2f}",
      eb.nll, source.nll, eb.variation);
claim(good.nll > source.nll && good.variation < 0.05,
      "ddim at 16 steps has a worse one ({:.3f}) at a total variation of {:.3f}", good.nll, good.variation);
claim(one_text.nll < eb.nll && one_text.entropy == 0, "a single text, repeated, beats them all: {:.3f}",
      one_text.nll);
claim(std::abs(eb.entropy - law_entropy(truth) / 4) > 0.2,
      "what gives it away is the entropy of the output: {:.3f} nats a token, the source has {:.3f}", eb.entropy,
      source.entropy);

// %% [markdown]
// ## The whole path
//
// The same over the number of steps, for four ways to write: NLL to the right, total variation upwards. If likelihood
// measured quality, all points would lie on one rising line that begins at the source, and none to the left of it.

// %%
const auto path = [&](const Denoiser& denoiser, const std::string& sampler, const std::string& emission,
                      const std::string& temperature) {
  std::vector<Mark> out;
  for (const int32_t steps : {1, 2, 4, 8, 16, 32}) {
    const Row row = judge(
        "", written(denoiser,
                    {.sampler = sampler, .steps = steps, .temperature = temperature, .emission = emission}));
    out.push_back(Mark::at(row.nll, row.variation));
  }
  return out;
};
const auto known_path = path(*known, "ddim", "canvas", "constant(1)");
const auto averaged_path = path(*model, "ddim", "canvas", "constant(1)");
const auto cold_path = path(*known, "ddim", "canvas", "constant(0.6)");
const auto bound_path = path(*model, "entropy_bound(0.1)", "argmax", "constant(1)");
Figure figure =
    figure_of("Likelihood and error are two things",
              "negative log-likelihood under the source (nats per token)", "total variation from the source",
              {{"ddim, level known", known_path},
               {"ddim, level averaged over", averaged_path},
               {"ddim, level known, T = 0.6", cold_path},
               {"entropy_bound(0.1), argmax", bound_path},
               {"the source itself", {Mark::at(source.nll, 0)}}},
              "Each line runs over 1, 2, 4, 8, 16 and 32 steps, for ddim from right to left; exact laws of a "
              "Markov chain, 4 tokens on 4 positions.");
show(figure);
const Mark& cold = cold_path.back();
claim(cold.x<source.nll && cold.y> 3 * known_path.back().y,
      "a lower temperature buys likelihood with error: 32 steps at T = 0.6 reach {:.3f} nats and an error of "
      "{:.3f}, at T = 1 {:.3f} nats and {:.3f}",
      cold.x, cold.y, known_path.back().x, known_path.back().y);

// %% [markdown]
// ## A useless sampler with a perfect score
//
// The NLL is linear in q, so it can be hit by mixing. Take the likeliest text with probability w and four uniform tokens
// otherwise, and choose w so that the NLL is *exactly* the source's.

// %%
const Row noise =
    judge("uniform tokens", std::vector<double>(truth.size(), 1.0 / static_cast<double>(truth.size())));
const double w = (noise.nll - source.nll) / (noise.nll - one_text.nll);
std::vector<double> mixture(truth.size(), (1 - w) / static_cast<double>(truth.size()));
for (size_t i = 0; i < truth.size(); ++i) mixture[i] += w * constant[i];
const Row useless = judge(fmt::format("{:.0f}% one text, {:.0f}% noise", 100 * w, 100 - 100 * w), mixture);
for (const Row& row : {source, useless})
  print("{:40} {:5.3f}  {:7.3f}  {:5.3f}   {:15.3f}", row.name, row.nll, row.entropy, row.kl, row.variation);
claim(std::abs(useless.nll - source.nll) < 1e-9 && useless.variation > 0.5,
      "the same likelihood as the source at a total variation of {:.2f}", useless.variation);

// %% [markdown]
// ## What to report instead
//
// - On a source: a divergence. `canvaslab sweep` reports that of neighbouring pairs, beside NLL and output entropy, and
//   draws a band for exact samples of the same size: a divergence estimated from samples is never 0.
// - On a checkpoint no divergence can be had. Report the NLL only together with the entropy of the output, and prefer
//   scores of a task.

// %%
const Divergence finite = divergence_of(exact_samples(*known, 4, 400), *known->source());
print("divergence of 400 exact samples from their own source: {:.4f} nats (standard error {:.4f})",
      finite.value, finite.standard_error);
claim(finite.value > 0, "even exact samples do not score 0, hence the band in every plot");
}
