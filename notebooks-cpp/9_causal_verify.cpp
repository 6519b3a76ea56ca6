// %% [markdown]
// # A draft, verified by the causal mode
//
// The samplers so far trade error for speed. There is a way around: let any sampler write a *draft*, then ask the model's
// own causal mode, which gives the law of every token given those before it, in one forward for the whole draft. Go through
// the draft from the left, draw each token from its causal law, and keep going while the drawn token equals the draft's.
// At the first mismatch the drawn token is kept and the rest is thrown away; the next canvas starts behind it.
//
// Every token that is kept was drawn from the causal law. So the text is exact *for any draft*, however careless, and the
// draft decides only how far each canvas gets. `causal_verify(inner)` does this with any sampler.

// %%
#include "core/sources/source.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
const auto model = denoisers().make("markov(alphabet=16, successors=4, sharpness=3, leak=0.01, length=16)");
const Source& source = *model->source();
constexpr size_t kTexts = 600;
const Divergence control = divergence_of(exact_samples(*model, 16, kTexts), source);
struct Row {
  std::string sampler;
  double per_canvas, per_forward;  // tokens
  Divergence divergence;
  Texts texts;
};
const auto run_with = [&](const std::string& sampler, int32_t steps) {
  const auto results = generate_many(*model, plan_for(*model, {.sampler = sampler, .steps = steps}), kTexts);
  Row out{sampler, 0, 0, {}, {}};
  double tokens = 0, canvases = 0, forwards = 0;
  for (const auto& result : results) {
    const size_t kept = std::min<size_t>(16, result.canvas_ids.size());
    out.texts.emplace_back(result.canvas_ids.begin(), result.canvas_ids.begin() + static_cast<int64_t>(kept));
    tokens += static_cast<double>(result.canvas_ids.size()),
        canvases += static_cast<double>(result.steps_per_canvas.size());
    forwards += static_cast<double>(result.forwards.denoise + result.forwards.verify + result.forwards.append);
  }
  out.divergence = divergence_of(out.texts, source);
  out.per_canvas = tokens / canvases, out.per_forward = tokens / forwards;
  return out;
};
std::vector<Row> plain, coupled, independent;
const std::vector<double> steps = {1, 2, 4, 8};
for (const double n : steps) {
  plain.push_back(run_with("ddim", static_cast<int32_t>(n)));
  coupled.push_back(run_with("causal_verify(ddim)", static_cast<int32_t>(n)));
  independent.push_back(run_with("causal_verify(ddim, draws=independent)", static_cast<int32_t>(n)));
}
print("                   drafts as they are   verified, one uniform for both   verified, own draws");
print("draft steps   divergence               divergence    tokens a canvas   tokens a canvas");
for (size_t i = 0; i < steps.size(); ++i)
  print("{:11}   {:.4f} +- {:.4f}   {:.4f} +- {:.4f} {:15.2f} {:17.2f}", steps[i], plain[i].divergence.value,
        kZ95* plain[i].divergence.standard_error, coupled[i].divergence.value,
        kZ95* coupled[i].divergence.standard_error, coupled[i].per_canvas, independent[i].per_canvas);
print("exact samples {:.4f} +- {:.4f}", control.value, kZ95* control.standard_error);

// %%
const auto curve = [&](const std::string& name, const std::vector<Row>& rows) {
  Curve out{name, {}};
  for (size_t i = 0; i < steps.size(); ++i)
    out.marks.push_back(Mark::within(steps[i], rows[i].divergence.value, kZ95 * rows[i].divergence.standard_error));
  return out;
};
Figure figure =
    figure_of("Verified drafts are exact, whatever the draft", "draft steps per canvas",
              "divergence of neighbouring pairs (nats)",
              {curve("ddim as it is", plain), curve("causal_verify(ddim)", coupled),
               curve("causal_verify(ddim, draws=independent)", independent)},
              "600 texts of 16 tokens, Markov chain of 16 tokens, exact denoiser; bars are 95% intervals.");
figure.x.scale = figure.y.scale = Scale::kLog10;
figure.control_label = "exact samples of the same number";
figure.panels[0].control = {control.value, kZ95* control.standard_error};
show(figure);
for (const auto* rows : {&coupled, &independent})
  for (const Row& row : *rows)
    if (const double error = std::hypot(row.divergence.standard_error, control.standard_error);
        row.divergence.value > control.value + 3 * error)
      claim(false, "{} is as good as exact samples", row.sampler);
claim(
    plain[0].divergence.value > 50 * coupled[0].divergence.value,
    "a draft of one step is far off as it is ({:.3f}), and exact once verified ({:.4f}; exact samples {:.4f})",
    plain[0].divergence.value, coupled[0].divergence.value, control.value);

// %% [markdown]
// ## One uniform for both
//
// By default the draft and the causal mode draw with the *same* uniform number at each place of the text (`draws=coupled`).
// Where their laws agree, so do their tokens, and more of the draft is kept. A second gain comes for free: the text is now a
// function of the uniforms alone. Better drafts change how fast it is written, not what is written.

// %%
for (size_t i = 0; i < steps.size(); ++i)
  claim(coupled[i].per_canvas > independent[i].per_canvas,
        "{} draft steps: {:.2f} tokens a canvas, {:.2f} with draws of their own", steps[i],
        coupled[i].per_canvas, independent[i].per_canvas);
bool same = true;
for (const Row& row : coupled) same = same && row.texts == coupled[0].texts;
claim(same, "all {} texts are the same, token for token, after 1, 2, 4 and 8 draft steps", kTexts);

// %% [markdown]
// ## What it costs
//
// A canvas costs its draft steps, one verification and one append. Writing token by token with the causal mode is one token
// per forward, so a verified draft pays only where it keeps more tokens than it takes forwards. On this chain the successor
// of a token is uncertain, a token drawn in the dark agrees with its causal law only by luck, and a mismatch comes soon.
// The error of parallel sampling is gone entirely; what is left of it is a matter of speed alone.

// %%
print("draft steps   tokens per forward (draft, verify and append)");
for (size_t i = 0; i < steps.size(); ++i) print("{:11}   {:.2f}", steps[i], coupled[i].per_forward);
claim(coupled[0].per_forward > 1, "a draft of one step does: {:.2f} tokens per forward",
      coupled[0].per_forward);
claim(coupled[1].per_forward < 1 && coupled[3].per_forward < coupled[1].per_forward,
      "longer drafts do not on this source: {:.2f} at 2 steps, {:.2f} at 8", coupled[1].per_forward,
      coupled[3].per_forward);
}
