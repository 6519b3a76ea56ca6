// %% [markdown]
// # Correctors
//
// A sampler that settles tokens in parallel makes mistakes (notebook 3). A *corrector* goes over a canvas that is already
// there and repairs it, without adding text. Two questions decide whether it is worth having: is it right, that is, does
// it leave a canvas with the right law alone? And does it pay, that is, would its forwards not be better spent on
// smaller steps?
//
// ## What is redrawn, and from which law
//
// Fix a noise level: a token of the canvas is a token of the text with probability a, otherwise uniform noise. Call the
// law of such canvases q<sub>a</sub>. Redrawing one token from its law *given all the others* is a Gibbs step and leaves
// q<sub>a</sub> as it is. A canvas token given the others is the clean token given the others, kept with probability a:
//
// c<sub>i</sub> ~ a · p(x<sub>i</sub> | c<sub>−i</sub>) + (1 − a) / V
//
// A denoiser does not give p(x<sub>i</sub> | c<sub>−i</sub>), though. Its prediction p(x<sub>i</sub> | c) has seen the token
// c<sub>i</sub> that is to be judged. Bayes' rule takes that vote out again:
//
// p(v | c<sub>−i</sub>) ∝ p(v | c) / ( (1 − a) / V + a · [v = c<sub>i</sub>] )

// %%
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
constexpr size_t L = 4, V = 4;
constexpr double a = 0.6;
const auto small = denoisers().make("markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4)");
const Source& source = *small->source();
const std::vector<double> texts = source_law(source, L);
std::vector<std::vector<int32_t>> canvases;  // [256][L]
for (size_t i = 0; i < texts.size(); ++i) canvases.push_back(canvas_of_index(i, L, V));

/// Clean-token law [V] at a position given a canvas, with the canvas's own token there or without it; and by the formula.
const auto predict = [&](const std::vector<int32_t>& canvas, size_t position, bool with_own_token) {
  std::vector<Evidence> evidence;
  for (size_t p = 0; p < L; ++p) evidence.push_back({.token = canvas[p], .gain = a, .floor = (1 - a) / V});
  if (!with_own_token) evidence[position] = {};  // says nothing
  const auto all = source.posterior(source.start(), evidence);
  return std::vector<double>(all.begin() + static_cast<int64_t>(position * V),
                             all.begin() + static_cast<int64_t>((position + 1) * V));
};
const auto without_vote = [&](std::vector<double> law, int32_t own) {
  double total = 0;
  for (size_t v = 0; v < V; ++v) total += law[v] /= (1 - a) / V + (static_cast<int32_t>(v) == own ? a : 0);
  for (double& x : law) x /= total;
  return law;
};
double worst = 0;
for (const auto& canvas : canvases)
  for (size_t p = 0; p < L; ++p) {
    const auto formula = without_vote(predict(canvas, p, true), canvas[p]), direct = predict(canvas, p, false);
    for (size_t v = 0; v < V; ++v) worst = std::max(worst, std::abs(formula[v] - direct[v]));
  }
claim(worst < 1e-12,
      "the formula gives the leave-one-out law, for all 256 canvases and 4 positions (to {:.0e})", worst);

// %% [markdown]
// ## Is it right?
//
// On 256 canvases a redraw is a 256 × 256 matrix, so the law after any number of redraws is exact. The start is a canvas
// that a careless predictor left: every token has its right marginal, but they are independent. Three correctors:
//
// - one random position, drawn from the leave-one-out law;
// - one random position, drawn from the denoiser's prediction as it is, own vote included;
// - all positions at once, each from its leave-one-out law. Like the others it costs one forward.

// %%
std::vector<double> right(texts.size(), 0.0), careless(texts.size(), 1.0);
for (size_t c = 0; c < right.size(); ++c)
  for (size_t i = 0; i < texts.size(); ++i) {
    double likelihood = texts[i];
    for (size_t p = 0; p < L; ++p) likelihood *= (1 - a) / V + (canvases[c][p] == canvases[i][p] ? a : 0);
    right[c] += likelihood;
  }
for (size_t p = 0; p < L; ++p) {
  std::vector<double> marginal(V, 0.0);
  for (size_t c = 0; c < right.size(); ++c) marginal[static_cast<size_t>(canvases[c][p])] += right[c];
  for (size_t c = 0; c < right.size(); ++c) careless[c] *= marginal[static_cast<size_t>(canvases[c][p])];
}
const auto token_law = [&](size_t canvas, size_t position, bool own_vote) {
  auto law = predict(canvases[canvas], position, own_vote);
  for (double& x : law) x = a * x + (1 - a) / V;
  return law;
};
const auto redraw_one = [&](const std::vector<double>& law, bool own_vote) {
  std::vector<double> out(law.size(), 0.0);
  for (size_t c = 0; c < law.size(); ++c)
    for (size_t p = 0, stride = 64; p < L;
         ++p, stride /= V) {  // stride: from a canvas to the one with the next token at p
      const size_t base = c - static_cast<size_t>(canvases[c][p]) * stride;
      const auto next = token_law(c, p, own_vote);
      for (size_t v = 0; v < V; ++v) out[base + v * stride] += law[c] / L * next[v];
    }
  return out;
};
const auto redraw_all = [&](const std::vector<double>& law) {
  std::vector<double> out(law.size(), 0.0);
  for (size_t c = 0; c < law.size(); ++c) {
    std::vector<double> product = {law[c]};
    for (size_t p = 0; p < L; ++p) {
      std::vector<double> longer;
      const auto next = token_law(c, p, false);
      for (const double x : product)
        for (const double y : next) longer.push_back(x * y);
      product = longer;
    }
    for (size_t i = 0; i < out.size(); ++i) out[i] += product[i];
  }
  return out;
};
std::vector<double> count, without, with, all;
std::vector<double> x = careless, y = careless, z = careless;
for (int n = 0; n <= 30; ++n) {
  count.push_back(n);
  without.push_back(total_variation(x, right)), with.push_back(total_variation(y, right)),
      all.push_back(total_variation(z, right));
  x = redraw_one(x, false), y = redraw_one(y, true), z = redraw_all(z);
}
Figure speed = figure_of("From independent tokens to the right law", "forwards spent on correction",
                         "total variation from the right law of canvases",
                         {{"one position, leave-one-out", marks(count, without)},
                          {"one position, own vote included", marks(count, with)},
                          {"all positions, leave-one-out", marks(count, all)}},
                         "All 256 canvases of 4 tokens on 4 positions at level a = 0.6, exact.");
speed.y.scale = Scale::kLog10;
speed.marks_every = 5;
show(speed);
claim(total_variation(redraw_one(right, false), right) < 1e-12 &&
          total_variation(redraw_one(right, true), right) < 1e-12,
      "redrawing one position leaves the right law as it is, with or without its own vote");
claim(without[10] < 0.5 * with[10],
      "without its vote the law is reached sooner: {:.4f} against {:.4f} after 10 redraws", without[10],
      with[10]);
claim(total_variation(redraw_all(right), right) > 0.02,
      "redrawing all at once moves even the right law, by {:.3f}", total_variation(redraw_all(right), right));
claim(all.back() > 10 * without.back() && std::abs(all.back() - all[15]) < 1e-3,
      "and settles on a wrong one: {:.3f} from 15 forwards on", all.back());

// %% [markdown]
// The own vote is thus no mistake, only a brake. (Drawing a clean token given everything, then a fresh canvas token from it,
// is a Gibbs step too, on the pair of both.) The mistake is to redraw what belongs together at the same time, the very one
// that the corrector was called for.
//
// ## Does it pay?
//
// The engine's `loo_corrector` runs such redraws between the steps of a predictor, and each costs a forward. Below, `ddim`
// takes 4 steps on a chain of 8 tokens and 8 positions, with 0, 1, 3 and 7 redraws after each step but the last. The other
// line spends the same number of forwards on plain `ddim` steps. The level is known to both.

// %%
const auto model = denoisers().make("markov(alphabet=8, successors=3, sharpness=1.5, leak=0.02, length=8)");
constexpr size_t kTexts = 3000;
const Divergence control = divergence_of(exact_samples(*model, 8, kTexts), *model->source());
const auto run_at = [&](const std::string& sampler, int32_t forwards) {
  const Divergence d = divergence_of(
      texts_of(generate_many(*model, plan_for(*model, {.sampler = sampler, .steps = forwards}), kTexts)),
      *model->source());
  return Mark::within(static_cast<double>(forwards), d.value, kZ95 * d.standard_error);
};
std::vector<Mark> plain, corrected;
print("forwards   plain ddim           4 ddim steps and redraws");
for (const int32_t redraws : {0, 1, 3, 7}) {
  const int32_t forwards = 4 + 3 * redraws;
  plain.push_back(run_at("ddim", forwards));
  corrected.push_back(
      run_at(fmt::format("loo_corrector(ddim, corrector_steps={}, score=random)", redraws), forwards));
  print("{:8}   {:.4f} +- {:.4f}   {:.4f} +- {:.4f}", forwards, plain.back().y, plain.back().y_high - plain.back().y,
        corrected.back().y, corrected.back().y_high - corrected.back().y);
}
print("exact samples   {:.4f} +- {:.4f}", control.value, kZ95* control.standard_error);
Figure price = figure_of(
    "What a forward buys", "denoiser forwards per canvas", "divergence of neighbouring pairs (nats)",
    {{"ddim, all forwards are steps", plain}, {"4 ddim steps, the rest redraws", corrected}},
    "3,000 canvases of a Markov chain of 8 tokens on 8 positions, level known; bars are 95% intervals.");
price.x.scale = price.y.scale = Scale::kLog10;
price.control_label = "exact samples of the same number";
price.panels[0].control = {control.value, kZ95* control.standard_error};
show(price);
claim(corrected[3].y_high < corrected[0].y_low,
      "redraws repair: {:.4f} nats without, {:.4f} with 7 after each step", corrected[0].y, corrected[3].y);
for (size_t i = 1; i < 4; ++i)
  claim(plain[i].y_high < corrected[i].y_low,
        "but {:.0f} plain steps do better: {:.4f} against {:.4f}", plain[i].x, plain[i].y, corrected[i].y);

// %% [markdown]
// ## Correctors that cost no forward
//
// Some samplers revise within their ordinary step: `psi` mixes ddim's step with "predict, then corrupt anew" (share 1 − κ),
// `flow_matching` re-corrupts and repairs at a rate c, `remdm` re-corrupts at a bounded rate. They cost nothing, so they
// would have to be compared at equal steps. Exact laws again; total variation from the source:

// %%
const std::vector<int32_t> step_counts = {4, 8, 16, 32};
std::vector<std::vector<double>> free_of_charge;
print("{:24} {:>7} {:>7} {:>7} {:>7}   steps", "", 4, 8, 16, 32);
for (const std::string sampler : {"ddim", "psi(kappa=0.95)", "psi(kappa=0.5)", "psi(kappa=0)",
                                  "flow_matching(0)", "flow_matching(4)", "remdm(eta=0.2)"}) {
  std::string row;
  free_of_charge.emplace_back();
  for (const int32_t n : step_counts) {
    free_of_charge.back().push_back(
        total_variation(exact_law(*small, plan_for(*small, {.sampler = sampler, .steps = n})), texts));
    row += fmt::format(" {:7.4f}", free_of_charge.back().back());
  }
  print("{:24}{}", sampler, row);
}
bool off_is_best = true;
for (size_t n = 0; n < step_counts.size(); ++n)
  off_is_best = off_is_best && free_of_charge[0][n] < free_of_charge[1][n] &&
                free_of_charge[1][n] < free_of_charge[2][n] && free_of_charge[2][n] < free_of_charge[3][n] &&
                free_of_charge[4][n] < free_of_charge[5][n] && free_of_charge[0][n] < free_of_charge[6][n];
claim(off_is_best,
      "each is best with its correction switched off (psi and remdm are ddim then), at every number of steps");
claim(free_of_charge[4][3] < free_of_charge[0][3],
      "ddim is not the last word: flow_matching, which makes the fewest changes, has {:.4f} at 32 steps, ddim "
      "{:.4f}",
      free_of_charge[4][3], free_of_charge[0][3]);

// %% [markdown]
// ## What to take from it
//
// With an exact denoiser that knows the noise level, a correction is right but does not pay: ddim's own steps already
// revise (every token can still change), and smaller steps remove the cause of the error instead of its traces. This is
// the baseline that a claim for a corrector has to be read against. What it does not cover: denoisers with errors of their
// own, unknown levels, and masks, where a plain sampler can never take a token back.

// %%
const auto disturbed = denoisers().make(
    "perturbed(markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4), noise=1)");
const auto error_of = [&](const std::string& sampler) {
  return total_variation(exact_law(*disturbed, plan_for(*disturbed, {.sampler = sampler, .steps = 32})), texts);
};
const double uncorrected = error_of("ddim"), half = error_of("psi(kappa=0.5)");
claim(uncorrected > 5 * free_of_charge[0][3],
      "a denoiser with noise of 1 nat on its logits: ddim's error at 32 steps is {:.3f} instead of {:.3f}",
      uncorrected, free_of_charge[0][3]);
claim(half<uncorrected + 0.01 && free_of_charge[2][3]> 2 * free_of_charge[0][3],
      "there psi(kappa=0.5) does hardly any harm ({:.3f}), where with the exact denoiser it more than doubled "
      "the error",
      half);
}
