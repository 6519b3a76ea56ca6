// ar - one token after another from the causal mode: the autoregressive baseline on the same weights.
#include <algorithm>

#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// No canvas is denoised: every token is drawn from the causal law of what is written so far, at one causal forward a token
/// (counted as append). It is causal_verify without a draft, and with its coupled draws: one uniform per place in the text,
/// so that both write the same tokens at the same temperature. The run's top_k, top_p and min_p cut the law as they cut
/// that of candidates.
class Autoregressive final : public Sampler {
 public:
  explicit Autoregressive(const Options& options) : temperature_(options.real("temperature")) {}
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.causal_verify = temperature_;
    return declared;
  }
  int32_t num_decisions(int32_t /*forwards*/) const override { return 0; }
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override { decision.action.assign(view.length(), Action::kKeep); }

 private:
  double temperature_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "ar",
    .summary = "one token after another from the causal mode: the autoregressive baseline on the same weights",
    .source = "ancestral sampling; the AR mode of the DiffusionGemma Technical Report, arXiv:2608.00146",
    .aliases = {"autoregressive"},
    .parameters = {real_param("temperature", 1, 0, 1000, "", "of the causal law; 0 is greedy")},
    .facts = {.statistics = {}, .edits_only = true, .coupled_draws = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Autoregressive>(options); }});

}  // namespace
}  // namespace canvaslab
