// %% [markdown]
// # Stop rules and temperature
//
// Two knobs beside the sampler decide what a run costs and what it writes: the *temperature*, by which logits are divided
// before candidates are drawn and entropies are taken, and the *stop rule*, which ends a canvas before its step limit. They
// belong together: most stop rules wait for the canvas to settle, and it is the temperature that makes it settle.
//
// ## Temperature, exactly
//
// On a small chain the law of what is written is exact (notebook 3). Total variation from the source and entropy of the
// output, over constant temperatures, for two samplers whose denoiser is not told the noise level:

// %%
#include "core/error.h"
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
const auto small =
    denoisers().make("markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=4, use_level=false)");
const std::vector<double> truth = source_law(*small->source(), 4);
const std::vector<double> temperatures = {0.4, 0.6, 0.8, 1, 1.2, 1.5, 2};
struct Sweep {
  std::vector<double> error, entropy, nll;
  size_t best = 0;  // index of the temperature with the least error
};
const auto sweep = [&](const std::string& sampler, const std::string& emission) {
  Sweep out;
  for (const double t : temperatures) {
    const auto law = exact_law(*small, plan_for(*small, {.sampler = sampler,
                                                         .steps = 16,
                                                         .temperature = fmt::format("constant({})", t),
                                                         .emission = emission}));
    out.error.push_back(total_variation(law, truth)), out.entropy.push_back(law_entropy(law) / 4),
        out.nll.push_back(cross_entropy(law, truth) / 4);
  }
  out.best = static_cast<size_t>(std::min_element(out.error.begin(), out.error.end()) - out.error.begin());
  return out;
};
const Sweep ddim = sweep("ddim", "canvas"), bound = sweep("entropy_bound(0.1)", "argmax");
const double source_entropy = law_entropy(truth) / 4;
Figure exact = figure_of(
    "Temperature at 16 steps", "temperature", "total variation; entropy (nats per token)", {},
    "Exact laws over the 256 canvases of a Markov chain. Dashed: the source's entropy per token (right).");
exact.panels.clear();
add_panel(exact, "total variation from the source",
          {{"ddim, canvas", marks(temperatures, ddim.error)},
           {"entropy_bound(0.1), argmax", marks(temperatures, bound.error)}});
add_panel(exact, "entropy of the output",
          {{"ddim, canvas", marks(temperatures, ddim.entropy)},
           {"entropy_bound(0.1), argmax", marks(temperatures, bound.entropy)}});
exact.panels[1].control = {source_entropy, 0.0};
exact.control_label = "source";
show(exact);
claim(temperatures[ddim.best] == 1, "ddim is closest to the source at temperature 1");
claim(bound.best + 1 == temperatures.size() && std::is_sorted(bound.error.rbegin(), bound.error.rend()),
      "the entropy bound gains from every degree: {:.3f} at 0.4, {:.3f} at 1, {:.3f} at 2", bound.error[0],
      bound.error[3], bound.error[6]);
claim(
    std::is_sorted(ddim.nll.begin(), ddim.nll.end()) && std::is_sorted(bound.nll.begin(), bound.nll.end()),
    "likelihood would have chosen the lowest temperature for both: it improves all the way down (notebook 4)");

// %% [markdown]
// The entropy bound emits the most likely tokens of its last prediction, which is a kind of cold in itself; drawing at a
// higher temperature makes up for some of it. A fair comparison of samplers tunes the temperature for each, with the same
// number of trials.
//
// ## What the ramp is for
//
// DiffusionGemma lowers the temperature from 0.8 to 0.4 over its steps. On a longer canvas, 32 positions of a chain of 16
// tokens, the mean entropy of the predictions shows what this does to the renoising entropy bound.

// %%
const auto model = denoisers().make("markov(alphabet=16, successors=4, sharpness=3, leak=0.01, length=32)");
const Source& source = *model->source();
constexpr size_t kTexts = 100;
constexpr int32_t kSteps = 48;
const Divergence control = divergence_of(exact_samples(*model, 32, kTexts), source);
const std::string ramp = "linear_remaining(0.4, 0.8)";
struct Entropies final : Observer {
  std::vector<double> mean = std::vector<double>(kSteps, 0.0);
  void on_step(const StepRecord& record) override {
    for (const float entropy : record.statistics->entropy_nats)
      mean[static_cast<size_t>(record.step_idx)] += entropy / 32.0 / kTexts;
  }
};
std::vector<RowInput> rows(kTexts);
for (size_t i = 0; i < kTexts; ++i) rows[i].item = i;
const auto run_with = [&](const std::string& temperature, Entropies& entropies) {
  return texts_of(generate(
      *model,
      plan_for(
          *model,
          {.sampler = "entropy_bound(1)", .steps = kSteps, .temperature = temperature, .emission = "argmax"}),
      rows, &entropies));
};
Entropies at_one, ramped;
const Texts warm = run_with("constant(1)", at_one), full = run_with(ramp, ramped);
std::vector<double> step(kSteps);
for (size_t i = 0; i < step.size(); ++i) step[i] = static_cast<double>(i);
Figure settling = figure_of(
    "Does the canvas settle?", "denoising step", "mean entropy of the predictions (nats)",
    {{"temperature 1", marks(step, at_one.mean)}, {"temperature 0.8 to 0.4", marks(step, ramped.mean)}},
    "entropy_bound(1), 100 canvases of 32 tokens; mean over canvases and positions.");
settling.marks_every = 6;
show(settling);
const double warm_error = divergence_of(warm, source).value, full_error = divergence_of(full, source).value;
print("divergence of neighbouring pairs: temperature 1 {:.4f}, ramp {:.4f}, exact samples {:.4f} nats",
      warm_error, full_error, control.value);
claim(at_one.mean.back() > 0.2 && ramped.mean.back() < 0.01,
      "at temperature 1 the entropy is still {:.2f} nats after 48 steps, with the ramp {:.4f}",
      at_one.mean.back(), ramped.mean.back());
claim(full_error < 0.3 * warm_error,
      "a canvas that has not settled is far from the source: {:.3f} against {:.3f}", warm_error, full_error);

// %% [markdown]
// ## When to stop
//
// With the ramp, most canvases are finished long before step 48. All runs below use the same noise, so a run that is
// stopped early has made exactly the steps of the full run up to there. The honest question is then simple: how many tokens
// would have changed, had it gone on?

// %%
struct Stopped {
  std::string rule;
  double steps, changed, divergence;
};
std::vector<Stopped> table;
for (const std::string rule : {"never", "stable_and_confident(1, 0.005)", "stable_and_confident(1, 0.05)",
                               "token_stability", "entropy(0.2)", "entropy(0.5)"}) {
  const auto results = generate(*model,
                                plan_for(*model, {.sampler = "entropy_bound(1)",
                                                  .steps = kSteps,
                                                  .temperature = ramp,
                                                  .emission = "argmax",
                                                  .stop = rule}),
                                rows);
  const Texts stopped = texts_of(results);
  Stopped row{rule, 0, 0, divergence_of(stopped, source).value};
  for (size_t i = 0; i < kTexts; ++i) {
    row.steps += static_cast<double>(results[i].forwards.denoise) / kTexts;
    for (size_t p = 0; p < 32; ++p) row.changed += (stopped[i][p] != full[i][p]) / 32.0 / kTexts;
  }
  table.push_back(row);
}
print("stop rule                          steps   tokens that would have changed   divergence");
for (const auto& row : table)
  print("{:32} {:7.1f} {:31.1f}% {:13.4f}", row.rule, row.steps, 100 * row.changed, row.divergence);
const Stopped &never = table[0], &reference = table[1], &eager = table.back();
claim(reference.changed < 0.001 && reference.steps < 0.6 * never.steps,
      "the rule that DiffusionGemma ships with ends after {:.1f} of 48 steps, and {:.2f}% of the tokens would "
      "have changed",
      reference.steps, 100 * reference.changed);
claim(eager.changed > 0.1 && eager.divergence > 1.2 * reference.divergence,
      "a rule that asks only for a low mean entropy can come too early: at 0.5 nats {:.0f}% would have "
      "changed, and the divergence is {:.4f} instead of {:.4f}",
      100 * eager.changed, eager.divergence, reference.divergence);

// %% [markdown]
// The shipped rule asks for two things: the argmax canvas equals that of the step before, *and* the mean entropy is low. On
// this source the standstill alone (`token_stability`) is nearly as safe; a low entropy alone is not.
//
// ## Two traps
//
// **A lower step limit squeezes the ramp.** With 16 steps instead of 48 the temperature falls three times as fast, so two
// things have changed and a plot over steps shows their sum. `anneal_over` is the length of the ramp by itself: with
// `anneal_over=48` the 16 steps are the first 16 of the long run.

// %%
PlanRequest request;
request.sampler = "entropy_bound(1)";
request.stop = "never";
request.temperature = ramp;
request.emission = "argmax";
request.num_steps = 16;
const Texts squeezed = texts_of(generate(*model, resolve_plan(request, *model), rows));
request.anneal_over = kSteps;
const Texts cut = texts_of(generate(*model, resolve_plan(request, *model), rows));
const double squeezed_error = divergence_of(squeezed, source).value,
             cut_error = divergence_of(cut, source).value;
print("16 steps, ramp over 16: {:.4f} nats\n16 steps, ramp over 48: {:.4f} nats", squeezed_error, cut_error);
claim(cut_error > 2 * squeezed_error,
      "the same 16 steps, the same sampler: the length of the ramp alone makes a factor of {:.1f}",
      cut_error / squeezed_error);

// %% [markdown]
// **Not every sampler may be stopped.** `ddim` follows a noise level that reaches "clean" only at its last step. Ended
// before, its canvas still holds noise. The combination is refused, with the reason:

// %%
std::string refusal;
try {
  plan_for(*model, {.sampler = "ddim", .stop = "entropy"});
} catch (const UserError& error) {
  refusal = error.what();
}
print("{}", refusal);
claim(refusal.find("noise level") != std::string::npos, "ddim with a stop rule is refused");
}
