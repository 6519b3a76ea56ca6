// joint_threshold - draft every sure position and edit every revealed one, by two thresholds, on argmax tokens.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Draft: open positions whose best token has p > threshold take it; when none qualifies, the single surest. Edit: a
/// revealed position whose best token differs and has p > edit_threshold takes that. Both strict. After max_post_edit_steps
/// steps with nothing open there are no more edits. Tokens are argmax tokens, so the candidate temperature only scales p.
/// Open positions get fresh noise; the last step drafts all. At least one open position per step.
/// Source: SGLang joint_threshold (LLaDA2.1); its repetition penalty needs logits and is left out. samplers.md 4.16.
class JointThreshold final : public Sampler {
 public:
  explicit JointThreshold(int64_t max_post_edit_steps) : max_post_edit_steps_(static_cast<double>(max_post_edit_steps)) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(1, 0);  // steps that began with nothing open
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    const auto draft = static_cast<float>(std::log(view.knobs[0])), edit = static_cast<float>(std::log(view.knobs[1]));
    const auto order = order_by_falling(s.argmax_logprob, open_positions(view, state));
    renoise_open(view, state, decision);
    if (order.empty()) ++state.scratch[0];
    const bool may_edit = state.scratch[0] <= max_post_edit_steps_;
    for (size_t p = 0; may_edit && p < view.length(); ++p)
      if (state.revealed[p] && s.argmax[p] != view.canvas[p] && s.argmax_logprob[p] > edit) decision.action[p] = Action::kArgmax;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && !view.is_last && s.argmax_logprob[order[i]] <= draft) break;
      decision.action[order[i]] = Action::kArgmax;
      state.revealed[order[i]] = 1;
    }
  }

 private:
  double max_post_edit_steps_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "joint_threshold",
    .summary = "draft every sure position and edit every revealed one, by two thresholds, on argmax tokens",
    .source = "SGLang joint_threshold (LLaDA2.1), uniform-state form",
    .aliases = {"draft_and_edit"},
    .parameters = {schedule_param("threshold", 0.5, 0, 1, "probability", "open positions strictly above are revealed"),
                   schedule_param("edit_threshold", 0, 0, 1, "probability", "revealed positions strictly above take a different argmax; 1: none"),
                   int_param("max_post_edit_steps", 16, 0, 1000000, "steps", "edits end so many steps after the last reveal")},
    .facts = {.statistics = {Statistic::kMax}, .revocable = true, .locks = true, .min_accepted = 1, .default_stop = "settled", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<JointThreshold>(options.integer("max_post_edit_steps")); }});

}  // namespace
}  // namespace canvaslab
