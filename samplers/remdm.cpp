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
/// confidence=on multiplies each position's rate by a softmax over positions of minus the probability its token had when
/// it was last taken, so that doubtful tokens are re-corrupted first; positions that never took one keep rate 0. The
/// rates then sum to sigma over the canvas, and the preserved marginals are not claimed. eta = 0 is ddim. The last step
/// takes every candidate. Not here: the loop variant, which holds the noise level for a while (the level path is linear).
/// Source: arXiv:2503.00307, kuleshov-group/remdm; samplers.md 4.9, 3.8.
class Remdm final : public Sampler {
 public:
  Remdm(bool cap, bool confidence) : cap_(cap), confidence_(confidence) {}
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
    const double sigma = cap_ ? std::min(eta, largest) : eta * largest;
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
  bool cap_, confidence_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "remdm",
    .summary = "remasking diffusion, uniform counterpart: re-corrupts at a bounded rate while denoising",
    .source = "arXiv:2503.00307 (ReMDM); kuleshov-group/remdm",
    .aliases = {"remasking_diffusion"},
    .parameters = {text_param("rate", "cap", "cap: min(eta, largest rate); rescale: eta times the largest rate", {"cap", "rescale"}),
                   schedule_param("eta", 0.008, 0, 1, "probability", "remask rate; 0 is ddim"),
                   bool_param("confidence", false, "spread the rate by how doubtful each token was when it was taken")},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .product_law = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Remdm>(options.text("rate") == "cap", options.boolean("confidence")); }});

}  // namespace
}  // namespace canvaslab
