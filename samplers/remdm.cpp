// remdm - remasking diffusion, uniform counterpart: psi with its mixture set by a remask rate.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// A remask rate sigma of the masked chain is psi's kappa = clip(1 - sigma / (1 - level_next), 0, 1), with the same
/// marginals. Rates, with sigma_max = min(1, (1 - level_next) / level_now):
///   cap      sigma = min(eta, sigma_max)   (authors' eta 0.008)
///   rescale  sigma = eta sigma_max         (authors' eta 0.015)
///   loop     sigma = min(eta, sigma_max) at steps that hold their noise level, 0 at the others (authors' eta 0.02)
/// The loop's path, unless another one is given, is the authors': linear to level 0.9 at progress 0.45, held to 0.95, linear
/// to the end; while it is held, tokens are corrupted and drawn anew at that level.
/// confidence=on multiplies each position's rate by a softmax over positions of minus the probability its token had when
/// it was last taken, so that doubtful tokens are re-corrupted first; positions that never took one keep rate 0. The
/// rates then sum to sigma over the canvas, and the preserved marginals are not claimed. eta = 0 is ddim. The last step
/// takes every candidate. Source: arXiv:2503.00307, kuleshov-group/remdm; samplers.md 4.9, 3.8.
class Remdm final : public LevelSampler {
 public:
  explicit Remdm(const Options& options) : LevelSampler(options), cap_(options.text("rate") != "rescale"), loop_(options.text("rate") == "loop"), confidence_(options.boolean("confidence")) {
    if (loop_ && !path_) path_ = make_schedule(parse_plugin("hold(from=0, to=1, level=0.9, begin=0.45, end=0.95)"));
  }
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.product_law = !confidence_;
    return declared;
  }
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    if (confidence_) state.scratch.assign(length, INFINITY);  // probability of the token when it was last taken
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const double eta = view.knobs[0], largest = view.level_now > 0 ? std::min(1.0, (1 - view.level_next) / view.level_now) : 1.0;
    const bool moves = view.level_next - view.level_now > 1e-9;  // the path's values are this exact
    const double sigma = loop_ && moves ? 0 : cap_ ? std::min(eta, largest) : eta * largest;
    const auto weight = weights(view, state);
    decision.action.resize(view.length());
    for (size_t p = 0; p < view.length(); ++p) {
      const double rate = sigma * (confidence_ ? weight[p] : 1.0);
      decision.action[p] = psi_action(view, p, view.is_last ? 1.0 : std::clamp(1 - rate / (1 - view.level_next), 0.0, 1.0));
      if (!confidence_) continue;
      if (decision.action[p] == Action::kCandidate) state.scratch[p] = std::exp(static_cast<double>(view.statistics->candidate_logprob[p]));
      if (decision.action[p] == Action::kNoise) state.scratch[p] = INFINITY;
    }
  }

 private:
  /// [L] softmax of minus the recorded probabilities over the open positions that took a token; empty without confidence.
  std::vector<double> weights(const StepView& view, const CanvasState& state) const {
    if (!confidence_) return {};
    std::vector<double> out(view.length(), 0.0);
    double sum = 0;
    for (size_t p = 0; p < out.size(); ++p)
      if (view.is_allowed(p)) sum += out[p] = std::exp(-state.scratch[p]);
    for (double& w : out)
      if (sum > 0) w /= sum;
    return out;
  }
  bool cap_, loop_, confidence_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "remdm",
    .summary = "remasking diffusion, uniform counterpart: re-corrupts at a bounded rate while denoising",
    .source = "arXiv:2503.00307 (ReMDM); kuleshov-group/remdm",
    .aliases = {"remasking_diffusion"},
    .parameters = {text_param("rate", "cap", "cap: min(eta, largest rate); rescale: eta times the largest rate; loop: as cap, while the noise level is held", {"cap", "rescale", "loop"}),
                   schedule_param("eta", 0.008, 0, 1, "probability", "remask rate; 0 is ddim"),
                   bool_param("confidence", false, "spread the rate by how doubtful each token was when it was taken"), path_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .product_law = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Remdm>(options); }});

}  // namespace
}  // namespace canvaslab
