// less - reveal positions whose best token is sure, has stood for a while and comes from a distribution that has settled.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Reveals the best token of an open position when, at temperature 1, its probability is at least `threshold`, it has been the
/// best one for `persistence` steps including this one, and KL(this step || step before) is at most `kl_threshold`; when none
/// qualifies, the single surest. Tokens are argmax tokens, so the temperature plays no part. The last
/// step reveals all; the first cannot qualify. The authors bound a Jensen-Shannon divergence of the best few tokens by 0.040; near equality KL is four
/// times that, hence the default. Uniform-state form: open positions get fresh noise, so the bound is only a start.
/// Source: arXiv:2606.16908 (constants as reported second-hand); newer.md 3.5.
class Less final : public Sampler {
 public:
  explicit Less(const Options& options) : persistence_(static_cast<double>(options.integer("persistence"))) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(2 * length, -1);  // [L] best token of the step before, then [L] steps it has stood
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const RowStatistics& s = *view.statistics;
    const size_t length = view.length();
    const auto sure = static_cast<float>(std::log(view.knobs[0])), settled = static_cast<float>(view.knobs[1]);
    const auto order = order_by_falling(s.argmax_logprob_t1, open_positions(view, state));
    renoise_open(view, state, decision);
    for (size_t p = 0; p < length; ++p) {
      double &before = state.scratch[p], &stood = state.scratch[length + p];
      stood = before == s.argmax[p] ? stood + 1 : 1;
      before = s.argmax[p];
    }
    bool any = false;
    for (const uint32_t p : order) {
      const bool qualifies = s.argmax_logprob_t1[p] >= sure && state.scratch[length + p] >= persistence_ && s.kl_nats[p] <= settled;
      if (!qualifies && !view.is_last) continue;
      reveal(p, state, decision);
      any = true;
    }
    if (!any && !order.empty()) reveal(order.front(), state, decision);
  }

 private:
  static void reveal(size_t p, CanvasState& state, StepDecision& decision) {
    decision.action[p] = Action::kArgmax;
    state.revealed[p] = 1;
  }
  double persistence_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "less",
    .summary = "reveal sure tokens that have stood for a while in a distribution that has settled; else the surest one",
    .source = "arXiv:2606.16908 (LESS), uniform-state form",
    .aliases = {},
    .parameters = {schedule_param("threshold", 0.75, 0, 1, "probability", "at temperature 1; best tokens at least this likely may be revealed"),
                   schedule_param("kl_threshold", 0.16, 0, std::numeric_limits<double>::infinity(), "nats", "the distribution moved by at most this since the step before"),
                   int_param("persistence", 2, 1, 1000, "steps", "for which the best token has stood, this one included")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kUntempered, Statistic::kDivergence}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Less>(options); }});

}  // namespace
}  // namespace canvaslab
