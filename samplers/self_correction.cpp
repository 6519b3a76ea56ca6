// self_correction - polish a canvas: replace the tokens that a fresh draw contradicts most confidently, one at a time.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Scores a position by p(candidate) where the candidate differs from the token on the canvas, and 0 where it agrees; the
/// `tokens_per_step` best take their candidate, the rest keep what they have. Nothing is renoised: meant for a finished
/// text as start canvas and a low temperature (the authors' is 0.1). When the share of positions that hold their argmax
/// has not risen for `patience` steps nothing is edited any more and the stop rule `settled` ends the canvas. UNVERIFIED:
/// the authors' criterion of improvement; this share is ours. They also give their model a noise level near clean; no
/// level is given here. Source: GIDD self-correction (dvruette/gidd); samplers.md 3.10.
class SelfCorrection final : public Sampler {
 public:
  explicit SelfCorrection(const Options& options)
      : tokens_(static_cast<size_t>(options.integer("tokens_per_step"))), patience_(static_cast<double>(options.integer("patience"))) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch = {-1, 0};  // best number of positions at their argmax; steps since
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    std::vector<uint8_t> differs(view.length());
    double settled = 0;
    for (size_t p = 0; p < differs.size(); ++p) {
      differs[p] = view.is_allowed(p) && s.candidate[p] != view.canvas[p];
      settled += view.is_allowed(p) && s.argmax[p] == view.canvas[p];
    }
    state.scratch[1] = settled > state.scratch[0] ? 0 : state.scratch[1] + 1;
    state.scratch[0] = std::max(state.scratch[0], settled);
    decision.action.assign(view.length(), Action::kKeep);
    if (state.scratch[1] >= patience_) return;
    const auto order = order_by_falling(s.candidate_logprob, differs);
    for (size_t i = 0; i < std::min(tokens_, order.size()); ++i) decision.action[order[i]] = Action::kCandidate;
  }

 private:
  size_t tokens_;
  double patience_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "self_correction",
    .summary = "polish a start canvas: replace the tokens that a fresh draw contradicts most confidently",
    .source = "GIDD self-correction (dvruette/gidd); plateau test ours",
    .aliases = {"gidd"},
    .parameters = {int_param("tokens_per_step", 1, 1, 1000000, "tokens", "edits of a step at most"),
                   int_param("patience", 32, 1, 1000000, "steps", "without a rise of the number of positions at their argmax before editing ends")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .revocable = true, .edits_only = true, .default_stop = "settled", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<SelfCorrection>(options); }});

}  // namespace
}  // namespace canvaslab
