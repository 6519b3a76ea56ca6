// causal_verify - any sampler drafts; the causal mode keeps what it would have written itself: exactly its law.
#include "samplers/wrapping_sampler.h"

namespace canvaslab {
namespace {

/// When the inner sampler has finished a canvas, one causal forward gives the law of every token given the draft before it.
/// A token is drawn from each law from the left; while it equals the draft the draft stands, and at the first mismatch the
/// drawn token ends the canvas. The next canvas starts behind it. All tokens are thus draws of the causal law for any
/// draft; at temperature 0 they are its greedy continuation. Source: newer.md 2.1; acceptance by equality as the published
/// linear self-speculation of arXiv:2607.05722.
///
/// Coupled draws are ours: every place of the text has one uniform, by whose inversion both the draft's candidates and the
/// causal token are drawn. Where the two laws agree so do the draws, and the text is a function of the uniforms alone: the
/// same token for token whatever drafts it, in canvases of whatever length. Drafts must emit candidates for that to help:
/// emission canvas.
class CausalVerify final : public WrappingSampler {
 public:
  explicit CausalVerify(const Options& options) : WrappingSampler(options.inner("inner")), temperature_(options.real("temperature")), coupled_(options.text("draws") == "coupled") {}
  SamplerFacts refine(SamplerFacts) const override {
    SamplerFacts out = inner_facts();
    out.causal_verify = temperature_;
    out.coupled_draws = coupled_;
    if (coupled_) out.default_emission = "canvas";
    return out;
  }

 private:
  double temperature_;
  bool coupled_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "causal_verify",
    .summary = "a sampler's canvases, cut where the causal mode would have written another token: exactly the causal law",
    .source = "arXiv:2607.05722 (linear self-speculation); newer.md 2.1",
    .aliases = {},
    .parameters = {inner_sampler_param("entropy_bound", "sampler that drafts the canvas"),
                   real_param("temperature", 1, 0, 1000, "", "of the causal law; 0 is greedy"),
                   text_param("draws", "coupled", "coupled: draft and causal mode share one uniform per place in the text; independent: each its own", {"coupled", "independent"})},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<CausalVerify>(options); }});

}  // namespace
}  // namespace canvaslab
