// %% [markdown]
// # One denoising step
//
// A block diffusion model writes a block of text, the *canvas*, all at once. It begins with random tokens and improves them
// over a number of steps. Each step has four parts, and this notebook does each of them by hand:
//
// 1. **denoise**: the model reads the noisy canvas and predicts the clean token of every position: logits [L, V];
// 2. **statistics**: a few numbers per position are taken from the logits;
// 3. **decide**: the sampler looks at these numbers and says what happens to each position;
// 4. **apply**: taken positions get their tokens, the others fresh noise.
//
// The model here is not a network but the exact posterior of a known source: a Markov chain over 26 letters, each of which
// has three likely successors. So every prediction below is right, and can be checked.

// %%
#include "core/row_statistics.h"
#include "core/sources/source.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

std::string letters(std::span<const int32_t> tokens) {
  std::string out;
  for (const int32_t token : tokens) out += static_cast<char>('a' + token);
  return out;
}

void notebook::cells() {
constexpr size_t L = 24;
constexpr int32_t V = 26;
const auto model = denoisers().make("markov(alphabet=26, successors=3, leak=0.01, length=24)");
const DrawKey draws{.seed = 7};  // every random number is a function of this key, a purpose and a position
const std::vector<int32_t> clean = model->source()->sample(L, draws);
std::vector<int32_t> canvas = clean;
for (uint32_t p = 0; p < L; ++p)
  if (draws.uniform(Purpose::kRoute, p) > 0.6)
    canvas[p] = static_cast<int32_t>(draws.below(V, Purpose::kCanvasInit, p));
std::string noisy(L, ' ');
for (size_t p = 0; p < L; ++p)
  if (canvas[p] != clean[p]) noisy[p] = '^';
print("clean text   {}\ncanvas       {}\nnoise        {}", letters(clean), letters(canvas), noisy);

// %% [markdown]
// ## Denoise
//
// The request names the canvas and the temperature, and which statistics are wanted. Logits are returned only because we
// ask for them: on a real vocabulary of 262,144 tokens they are 268 MB per step, so samplers never see them.

// %%
const auto sequence = model->prefill({});
DenoiseRow row{.sequence = sequence.get(), .request = {}};
row.request.canvas = canvas;
row.request.wanted = {Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent};
row.request.draw_key = draws;
row.request.want_logits = true;
const StepResult result = model->denoise({&row, 1}).front();
const RowStatistics& statistics = result.statistics;

size_t right = 0, standing = 0;
for (size_t p = 0; p < L; ++p) right += statistics.argmax[p] == clean[p], standing += canvas[p] == clean[p];
print("clean text   {}\ncanvas       {}   {} of {} right\nargmax       {}   {} of {} right", letters(clean),
      letters(canvas), standing, L, letters(statistics.argmax), right, L);
claim(right > standing, "the most likely tokens repair {} positions", right - standing);

// %% [markdown]
// ## Statistics
//
// Per position: the most likely token and its probability, the entropy of the prediction in nats, a *candidate* drawn from
// it, and the probability of the token that stands there now. They are found in one pass over the logits. As a check, the
// entropy is computed again the long way in 64 bits, and the candidate by inverting the distribution function at the same
// uniform number.

// %%
print("position  clean  canvas  argmax  p(argmax)  entropy  candidate  p(canvas)");
double worst = 0;
bool candidates_agree = true;
for (uint32_t p = 0; p < L; ++p) {
  const std::span<const float> logits(result.logits.data() + p * V, V);
  double sum = 0, entropy = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  for (const float x : logits)
    entropy -= std::exp(static_cast<double>(x)) / sum * (static_cast<double>(x) - std::log(sum));
  worst = std::max(worst, std::abs(entropy - statistics.entropy_nats[p]));
  candidates_agree = candidates_agree &&
                     draw_token(logits, 1, draws.uniform(Purpose::kCandidate, p)) == statistics.candidate[p];
  if (p < 12)
    print("{:8} {:>6} {:>7} {:>7} {:10.3f} {:8.3f} {:>10} {:10.3f}", p, letters({&clean[p], 1}),
          letters({&canvas[p], 1}), letters({&statistics.argmax[p], 1}), std::exp(statistics.argmax_logprob[p]),
          statistics.entropy_nats[p], letters({&statistics.candidate[p], 1}),
          std::exp(statistics.current_logprob[p]));
}
print("...");
claim(worst < 1e-5, "entropies equal those of a 64-bit computation to {:.0e} nats", worst);
claim(candidates_agree,
      "candidates are the tokens at which the distribution function passes the uniform number");

// %% [markdown]
// ## Decide
//
// The sampler is `entropy_bound`, the one that DiffusionGemma ships with: go through the positions from the surest to the
// least sure and take candidates while the entropies *before* the position sum to no more than a bound. (Notebook 2 shows
// why.) Samplers get the statistics in a `StepView` and answer with one action per position.

// %%
const ConfiguredSampler sampler = configure_sampler(parse_plugin("entropy_bound(0.5)"));
const std::vector<double> knobs = sampler.knob_values({.step_idx = 0, .num_steps = 8});
StepView view;
view.num_steps = 8;
view.vocabulary = V;
view.canvas = canvas;
view.statistics = &statistics;
view.knobs = knobs;
view.draws = &draws;
CanvasState state;
sampler.sampler->begin(state, L, view.num_steps);
StepDecision decision;
sampler.decide(view, state, decision);
std::vector<Mark> taken, renoised;
double spent = 0, surest = 0;
for (size_t p = 0; p < L; ++p) {
  const double entropy = statistics.entropy_nats[p];
  const bool take = decision.action[p] == Action::kCandidate;
  (take ? taken : renoised).push_back(Mark::at(static_cast<double>(p), entropy));
  if (take) spent += entropy, surest = std::max(surest, entropy);
}
Figure figure =
    figure_of("Which positions the entropy bound takes", "position", "entropy of the prediction (nats)",
              {{"taken", taken}, {"renoised", renoised}},
              "One step on a canvas of 24 letters. The dashed line is the highest entropy that was taken.");
figure.key = KeyShape::kPoint;
figure.control_label = "highest entropy taken";
figure.panels[0].control = {surest, 0.0};
show(figure);
print("{} of {} taken; their entropies sum to {:.3f} nats, {:.3f} without the last", decision.num_accepted(), L,
      spent, spent - surest);
claim(spent - surest <= 0.5,
      "the entropies before the last position taken sum to no more than the bound, 0.5 nats");
double next = 1e9;
for (const Mark& mark : renoised) next = std::min(next, mark.y);
claim(next >= surest && spent > 0.5, "the next position would have passed it: it is less sure ({:.3f} nats)",
      next);

// %% [markdown]
// ## Apply
//
// The engine carries the decision out. What is not taken becomes noise again, even where the canvas was right: the rule
// knows only how sure the model is, and the next prediction will tell whether the token comes back.

// %%
std::vector<int32_t> after(L);
for (uint32_t p = 0; p < L; ++p)
  after[p] = decision.action[p] == Action::kCandidate
                 ? statistics.candidate[p]
                 : static_cast<int32_t>(draws.below(V, Purpose::kNoise, p));
std::string marks_row(L, '.');
size_t taken_right = 0;
for (size_t p = 0; p < L; ++p)
  if (decision.action[p] == Action::kCandidate) marks_row[p] = '+', taken_right += after[p] == clean[p];
print("clean text   {}\ncanvas       {}\ntaken        {}\nnext canvas  {}", letters(clean), letters(canvas),
      marks_row, letters(after));
claim(taken_right + 2 >= decision.num_accepted(), "{} of the {} tokens taken are those of the clean text",
      taken_right, decision.num_accepted());

// %% [markdown]
// ## The engine does the same
//
// `generate` repeats this until the stop rule or the step limit ends the canvas. Started on our canvas with our key, its
// first step must be ours, position by position.

// %%
struct FirstStep final : Observer {
  std::vector<int32_t> out;
  void on_step(const StepRecord& record) override {
    if (record.step_idx == 0) out.assign(record.canvas_out.begin(), record.canvas_out.end());
  }
} first;
const GenerationPlan plan =
    plan_for(*model, {.sampler = "entropy_bound(0.5)", .steps = 8, .emission = "argmax"});
RowInput input;
input.seed = draws.seed;
input.init_canvas = canvas;
const RowResult written = generate(*model, plan, {&input, 1}, &first).front();
print("our next canvas  {}\nthe engine's     {}\nafter 8 steps    {}\nclean text       {}", letters(after),
      letters(first.out), letters(written.canvas_ids), letters(clean));
claim(first.out == after, "the engine's first step gives the same canvas");
const auto nats_per_token = [&](std::span<const int32_t> text) {
  return -model->source()->log_prob(text, {}) / L;
};
const double as_written = nats_per_token(written.canvas_ids), as_clean = nats_per_token(clean),
             as_noisy = nats_per_token(canvas);
claim(std::abs(as_written - as_clean) < 0.2 && as_noisy > as_clean + 1,
      "nats per token: {:.2f} as written, {:.2f} in the clean text, {:.2f} on the noisy canvas", as_written,
      as_clean, as_noisy);

// %% [markdown]
// The engine did not write the clean text back, and was not asked to: it writes *a* text of the source that agrees with what
// it kept, here about as likely as the true one. Whether its texts are distributed as the source's are is another question,
// which one text cannot answer: notebooks 3 and 4.

// %%
size_t same = 0;
for (size_t p = 0; p < L; ++p) same += written.canvas_ids[p] == clean[p];
claim(same<L && same> L / 4, "{} of {} letters are those of the clean text", same, L);
}
