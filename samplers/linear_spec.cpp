// linear_spec - one denoising step drafts a canvas, the causal mode keeps what it would have written: two forwards a round.
#include <cmath>

#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// The canvas begins with the last token of the text. One denoising step fills the positions whose candidate's probability is
/// above `threshold`; one causal forward over the canvas appends the tokens that it would have drawn itself and brings the
/// one behind them, with which the next canvas begins. All tokens are draws of the causal law, whatever the draft: at
/// temperature 0 its greedy continuation. A round costs one denoiser and one verifying forward where the denoiser can cut
/// its cache, else an append as well. Positions left open end the draft on absorbing denoisers; on uniform ones noise
/// stands there and is checked like any token (ours), and the first token counts as one more noisy token for the draft.
/// Differences to the published code: the prompt's last token opens the first canvas, which saves a draw from the prefill;
/// draws=coupled (ours, as causal_verify); a step that fills nothing is no error, its round writes one token. The draft's own
/// adapter (LoRA) of the paper needs a second set of weights and is not here.
/// Source: arXiv:2607.05722; linear_spec_generate of nvidia/Nemotron-Labs-Diffusion's modeling file (threshold 0, block 32).
class LinearSpec final : public Sampler {
 public:
  explicit LinearSpec(const Options& options) : log_threshold_(std::log(options.real("threshold"))), temperature_(options.real("temperature")), coupled_(options.text("draws") == "coupled") {}
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.causal_verify = temperature_;
    declared.coupled_draws = coupled_;
    declared.anchored = true;
    return declared;
  }
  int32_t num_decisions(int32_t) const override { return 1; }
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    decision.action.assign(view.length(), Action::kNoise);
    for (size_t p = 0; p < view.length(); ++p)
      if (static_cast<double>(view.statistics->candidate_logprob[p]) > log_threshold_) decision.action[p] = Action::kCandidate;
  }

 private:
  double log_threshold_, temperature_;
  bool coupled_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "linear_spec",
    .summary = "one denoising step drafts, the causal mode keeps what it would have written: exactly the causal law, two forwards a round",
    .source = "arXiv:2607.05722 (Nemotron-Labs-Diffusion linear self-speculation)",
    .aliases = {"linear_self_speculation"},
    .parameters = {real_param("threshold", 0, 0, 1, "probability", "a drafted token must be above it"), real_param("temperature", 1, 0, 1000, "", "of the causal law; 0 is greedy"),
                   text_param("draws", "coupled", "coupled: draft and causal mode share one uniform per place in the text; independent: each its own, as published", {"coupled", "independent"})},
    .facts = {.statistics = {Statistic::kCandidate}, .revocable = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<LinearSpec>(options); }});

}  // namespace
}  // namespace canvaslab
