// %% [markdown]
// # The entropy bound
//
// Which positions may be settled at the same step? Tokens drawn together are drawn independently (notebook 3), so taking a
// set A of positions replaces their joint law by the product of their marginals. What that costs is the *total
// correlation* of the set given the canvas c:
//
// TC(A) = KL( p(x<sub>A</sub> | c) ‖ ∏<sub>i∈A</sub> p(x<sub>i</sub> | c) ) = ∑<sub>i∈A</sub> H(x<sub>i</sub> | c) − H(x<sub>A</sub> | c)
//
// The model gives the marginal entropies H(x<sub>i</sub> | c), but not the joint one. Yet a joint entropy is at least the
// largest marginal one, so
//
// TC(A) ≤ ∑<sub>i∈A</sub> H(x<sub>i</sub> | c) − max<sub>i∈A</sub> H(x<sub>i</sub> | c)
//
// The right-hand side needs only what the model gives. The entropy-bound sampler (arXiv:2505.24857) takes positions in
// rising order of entropy while it stays at or below γ nats: sorted so, it is the sum of the entropies *before* the last
// position taken. The first position is free: alone, it has no correlation to lose.

// %%
#include "core/sources/source.h"
#include "eval/exact_law.h"
#include "notebooks-cpp/lab.h"
#include "notebooks-cpp/notebook.h"

using namespace canvaslab;

void notebook::cells() {
constexpr size_t L = 5;
constexpr int32_t V = 4;
const auto denoiser = denoisers().make("markov(alphabet=4, successors=4, sharpness=1.5, leak=0.02, length=5)");
const Source& source = *denoiser->source();
const std::vector<double> prior = source_law(source, L);  // [1024]

// %% [markdown]
// ## Is the bound true, and is it tight?
//
// On a chain of 4 tokens the joint posterior over all 1,024 texts can be written down for any canvas. For 150 corrupted
// texts at different noise levels, take the k surest positions, k = 2 to 5, and compare the true total correlation with
// the bound.

// %%
/// P(text | canvas at this survival probability) for all texts, by Bayes' rule.
const auto joint_posterior = [&](const std::vector<int32_t>& canvas, double survival) {
  std::vector<double> law = prior;
  double total = 0;
  for (size_t i = 0; i < law.size(); ++i) {
    const auto text = canvas_of_index(i, L, V);
    for (size_t p = 0; p < L; ++p) law[i] *= (1 - survival) / V + (text[p] == canvas[p] ? survival : 0);
    total += law[i];
  }
  for (double& x : law) x /= total;
  return law;
};
/// Entropy of the joint law of some positions.
const auto entropy_of = [&](const std::vector<double>& law, std::span<const size_t> positions) {
  std::vector<double> sums(1024, 0.0);
  for (size_t i = 0; i < law.size(); ++i) {
    const auto text = canvas_of_index(i, L, V);
    size_t index = 0;
    for (const size_t p : positions) index = index * V + static_cast<size_t>(text[p]);
    sums[index] += law[i];
  }
  return law_entropy(sums);
};
std::vector<Curve> clouds;
size_t broken = 0, sets = 0;
double bound_sum = 0, true_sum = 0;
for (size_t k = 2; k <= L; ++k) clouds.push_back({fmt::format("{} surest positions", k), {}});
for (uint32_t trial = 0; trial < 150; ++trial) {
  const DrawKey draws{.seed = 5, .item = trial};
  const double survival = 0.1 + 0.8 * trial / 150;
  std::vector<int32_t> canvas = source.sample(L, draws);
  for (uint32_t p = 0; p < L; ++p)
    if (draws.uniform(Purpose::kRoute, p) > survival)
      canvas[p] = static_cast<int32_t>(draws.below(V, Purpose::kNoise, p));
  const auto law = joint_posterior(canvas, survival);
  std::vector<std::pair<double, size_t>> order;  // (entropy, position), the surest first
  for (size_t p = 0; p < L; ++p) order.emplace_back(entropy_of(law, std::vector<size_t>{p}), p);
  std::sort(order.begin(), order.end());
  double sum = order[0].first;
  std::vector<size_t> taken = {order[0].second};
  for (size_t k = 2; k <= L; ++k) {
    taken.push_back(order[k - 1].second);
    const double bound = sum;  // entropies before the last
    sum += order[k - 1].first;
    const double correlation = sum - entropy_of(law, taken);
    clouds[k - 2].marks.push_back(Mark::at(bound, correlation));
    broken += correlation > bound + 1e-9;
    bound_sum += bound, true_sum += correlation, ++sets;
  }
}
clouds.push_back({"cost = bound", {}});
for (double x = 0; x < 2.5; x += 0.05) clouds.back().marks.push_back(Mark::at(x, x));
Figure cloud = figure_of(
    "What a set costs, and what the bound says it may cost", "sum of the entropies before the last (nats)",
    "true total correlation (nats)", clouds,
    "150 corrupted texts of a Markov chain of 4 tokens on 5 positions; the joint posterior is enumerated.");
cloud.key = KeyShape::kPoint;
show(cloud);
claim(broken == 0, "none of {} sets costs more than its bound", sets);
claim(bound_sum > 1.5 * true_sum,
      "but the bound is loose: on average it says {:.2f} nats where {:.2f} are lost",
      bound_sum / static_cast<double>(sets), true_sum / static_cast<double>(sets));

// %% [markdown]
// All points lie below the diagonal, and most of them far below: neighbours are tied, distant positions hardly, and the
// bound cannot know which is which. It is safe, and therefore slow where a text is made of parts that have little to do
// with each other.
//
// ## What γ buys
//
// On a longer canvas: 32 positions of a Markov chain over 16 tokens. `entropy_bound_locked` keeps what it has
// taken. It runs on both kinds of corruption: with *masks* the denoiser sees which positions are settled, which is the
// setting of the derivation above; with *uniform noise* it must guess which tokens are text and which are noise.
//
// The divergence of the text from the source is measured on pairs of neighbours (Jensen-Shannon, nats). It is never 0 for
// a finite sample; the band is what exact samples of the same number get.

// %%
const std::string longer = "alphabet=16, successors=4, leak=0.02, length=32";
const auto masks = denoisers().make("markov(" + longer + ", corruption=absorbing)");
const auto noise = denoisers().make("markov(" + longer + ")");
constexpr size_t kTexts = 200;
const Divergence control = divergence_of(exact_samples(*noise, 32, kTexts), *noise->source());
struct Point {
  double steps = 0;
  Divergence divergence;
};
const auto run_at = [&](const Denoiser& model, double bound) {
  const std::string sampler = fmt::format("entropy_bound_locked({})", bound);
  const auto results =
      generate_many(model, plan_for(model, {.sampler = sampler, .steps = 64, .stop = "all_revealed"}), kTexts);
  Point out{.steps = 0, .divergence = divergence_of(texts_of(results), *model.source())};
  for (const auto& result : results) out.steps += static_cast<double>(result.forwards.denoise) / kTexts;
  return out;
};
const std::vector<double> bounds = {0.03, 0.3, 1, 3, 10};
std::vector<Point> masked, noisy;
print("                masks                       uniform noise");
print("bound   steps   divergence         steps   divergence (nats)");
for (const double bound : bounds) {
  masked.push_back(run_at(*masks, bound)), noisy.push_back(run_at(*noise, bound));
  const auto &a = masked.back(), &b = noisy.back();
  print("{:5} {:7.1f}   {:.4f} +- {:.4f} {:7.1f}   {:.4f} +- {:.4f}", bound, a.steps, a.divergence.value,
        kZ95 * a.divergence.standard_error, b.steps, b.divergence.value, kZ95 * b.divergence.standard_error);
}
print("exact samples   {:.4f} +- {:.4f}", control.value, kZ95* control.standard_error);

// %%
const auto curve = [](const std::vector<Point>& points) {
  std::vector<Mark> out;
  for (const Point& p : points)
    out.push_back(Mark::within(32 / p.steps, p.divergence.value, kZ95 * p.divergence.standard_error));
  return out;
};
Figure trade = figure_of(
    "Speed against error: bounds of 0.03 to 10 nats", "tokens per denoiser forward",
    "divergence of neighbouring pairs (nats)", {{"masks", curve(masked)}, {"uniform noise", curve(noisy)}},
    "entropy_bound_locked, 200 canvases of 32 tokens, a Markov chain of 16 tokens; bars are 95% intervals.");
trade.x.scale = Scale::kLog10;
trade.control_label = "exact samples of the same number";
trade.panels[0].control = {control.value, kZ95* control.standard_error};
show(trade);
const auto error_of = [&](const Point& p) {
  return std::hypot(p.divergence.standard_error, control.standard_error);
};
const bool falls = std::is_sorted(masked.rbegin(), masked.rend(),
                                  [](const Point& a, const Point& b) { return a.steps < b.steps; });
claim(falls, "a larger bound needs fewer steps: {:.1f} at {} nats, {:.1f} at {}", masked[0].steps, bounds[0],
      masked.back().steps, bounds.back());
claim(std::abs(masked[0].divergence.value - control.value) < 3 * error_of(masked[0]),
      "with masks a bound of {} nats is as good as exact samples, in {:.1f} steps for 32 tokens", bounds[0],
      masked[0].steps);
claim(masked.back().divergence.value > control.value + 4 * error_of(masked.back()),
      "a bound of {} nats is not ({:.4f} against {:.4f})", bounds.back(), masked.back().divergence.value,
      control.value);
claim(noisy[0].divergence.value > control.value + 4 * error_of(noisy[0]),
      "in uniform noise no bound is: even at {} nats {:.4f} against {:.4f}", bounds[0],
      noisy[0].divergence.value, control.value);

// %% [markdown]
// So the bound controls the error that it was made for, and no other. In uniform noise a second error adds to it: the
// denoiser does not know which tokens the sampler holds for final and averages over how noisy the canvas is, so even a
// single token a step is drawn from a law that is not the conditional one. This is why DiffusionGemma's form of the sampler
// does not lock: every position competes again at every step, and a token that was taken too early can still go.
//
// ## The form that renoises
//
// `entropy_bound` takes candidates under the same rule, but only for this step. How many positions pass the rule grows
// while the canvas gets cleaner: the picture shows the mean over 200 canvases.

// %%
struct Accepted final : Observer {
  std::vector<double> mean = std::vector<double>(24, 0.0);
  void on_step(const StepRecord& record) override {
    for (const uint8_t accepted : record.accepted)
      mean[static_cast<size_t>(record.step_idx)] += accepted / 200.0;
  }
};
std::vector<Curve> growth;
std::vector<double> first_step, last_step;
for (const double bound : {1.0, 3.0, 10.0}) {
  Accepted accepted;
  std::vector<RowInput> rows(kTexts);
  for (size_t i = 0; i < kTexts; ++i) rows[i].item = i;
  const auto plan =
      plan_for(*noise, {.sampler = fmt::format("entropy_bound({})", bound), .steps = 24, .emission = "argmax"});
  generate(*noise, plan, rows, &accepted);
  std::vector<Mark> line;
  for (size_t i = 0; i < accepted.mean.size(); ++i)
    line.push_back(Mark::at(static_cast<double>(i), accepted.mean[i]));
  growth.push_back({fmt::format("bound {} nats", bound), line});
  first_step.push_back(accepted.mean.front()), last_step.push_back(accepted.mean.back());
}
Figure figure = figure_of("Positions that pass the bound", "denoising step", "positions taken, of 32", growth,
                          "entropy_bound in its renoising form on uniform noise, temperature 1, 24 steps, no "
                          "stop rule; mean over 200 canvases.");
figure.marks_every = 4;
show(figure);
for (size_t i = 0; i < 3; ++i)
  claim(last_step[i] > first_step[i], "{}: from {:.1f} positions at the first step to {:.1f} at the last",
        growth[i].name, first_step[i], last_step[i]);
}
