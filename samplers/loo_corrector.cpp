// loo_corrector - Gibbs sweeps between the steps of a predictor: extra forwards that redraw the least plausible tokens.
#include <algorithm>
#include <cmath>

#include "samplers/leave_one_out.h"
#include "samplers/wrapping_sampler.h"

namespace canvaslab {
namespace {

enum class Score { kMargin, kMaxProb, kCurrent, kRandom };

/// After each of the first m predictor steps, `corrector_steps` forwards on the canvas it left, of level a, at temperature 1.
/// Each picks k positions by Gumbel-top-k on -score / tau and redraws them from cond = a * loo + (1 - a) / V, the law of one
/// noisy token given all others; scores are logarithms of cond. With N forwards in all, m = (N - 1) / (1 + c) and N - m c predictor steps; never after the last one. One
/// position picked without looking at the canvas (score=random, k=1) leaves the canvas law of level a as it is; more, or
/// scored ones, are the paper's approximation. The sweeps leave self-conditioning to the predictor. Needs a predictor that
/// follows a known level: elsewhere the closed form of loo is wrong. Source: arXiv:2605.22765 (samplers.md 3.9).
class LooCorrector final : public WrappingSampler {
 public:
  explicit LooCorrector(const Options& options)
      : WrappingSampler(options.inner("inner")), sweeps_(static_cast<int32_t>(options.integer("corrector_steps"))),
        k_(static_cast<size_t>(options.integer("k"))), tau_(options.real("tau")) {
    const std::string& score = options.text("score");
    score_ = score == "margin" ? Score::kMargin : score == "max_prob" ? Score::kMaxProb : score == "current" ? Score::kCurrent : Score::kRandom;
    if (!inner_.facts.needs_level || !inner_.facts.uniform_corruption_only)
      throw usage_error("sampler 'loo_corrector' corrects a canvas of known noise level, which sampler '{}' does not keep; use a predictor such as ddim",
                        inner_.name);
    if (inner_.facts.extra_canvas || inner_.facts.causal_verify)
      throw usage_error("sampler 'loo_corrector' wraps a plain predictor; '{}' asks for extra forwards itself", inner_.name);
  }
  SamplerFacts refine(SamplerFacts) const override {
    SamplerFacts out = inner_facts();
    out.statistics = out.statistics | StatisticSet{Statistic::kMax, Statistic::kTop2, Statistic::kCurrent, Statistic::kAlternative};
    out.extra_canvas = true;
    return out;
  }
  int32_t corrected_steps(int32_t forwards) const { return (forwards - 1) / (1 + sweeps_); }
  int32_t num_decisions(int32_t forwards) const override { return forwards - corrected_steps(forwards) * sweeps_; }
  int32_t extra_forwards(int32_t step_idx, int32_t forwards) const override { return step_idx < corrected_steps(forwards) ? sweeps_ : 0; }

  void after_extra_forward(const StepView& view, CanvasState&, StepDecision& decision) const override {
    const size_t L = view.length();
    std::vector<float> key(L);
    std::vector<uint8_t> allowed(L);
    for (size_t p = 0; p < L; ++p) {
      allowed[p] = view.is_allowed(p);
      const double score = score_of(view, p);
      key[p] = static_cast<float>(tau_ > 0 ? -std::log(-std::log(view.uniform(Purpose::kPositionKey, p))) - score / tau_ : -score);
    }
    decision.action.assign(L, Action::kKeep);
    decision.token.assign(view.canvas.begin(), view.canvas.end());
    const auto order = order_by_falling(key, allowed);
    for (size_t i = 0; i < std::min(k_, order.size()); ++i) redraw(view, order[i], decision);
  }

 private:
  double score_of(const StepView& view, size_t p) const {
    const RowStatistics& s = *view.statistics;
    const double other = s.argmax[p] == view.canvas[p] ? s.second_logprob[p] : s.argmax_logprob[p];
    if (score_ == Score::kRandom) return 0;
    const double current = conditional_logprob(leave_one_out_current(s.current_logprob[p], view.level_now, view.vocabulary), view.level_now, view.vocabulary);
    if (score_ == Score::kCurrent) return current;
    const double best_other = conditional_logprob(leave_one_out_other(other, s.current_logprob[p], view.level_now, view.vocabulary), view.level_now, view.vocabulary);
    return score_ == Score::kMargin ? current - best_other : std::max(current, best_other);
  }
  /// One draw of a * loo(v) + (1 - a) / V: noise, the token that stands there, or one of the others in proportion.
  static void redraw(const StepView& view, size_t p, StepDecision& decision) {
    const double a = view.level_now, u = view.uniform(Purpose::kRoute, p);
    const double keep = leave_one_out_current(view.statistics->current_logprob[p], a, view.vocabulary);
    if (u >= a) decision.action[p] = Action::kNoise;
    else if (u >= a * keep) decision.action[p] = Action::kToken, decision.token[p] = view.statistics->alternative[p];
  }

  int32_t sweeps_;
  size_t k_;
  double tau_;
  Score score_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "loo_corrector",
    .summary = "a predictor with leave-one-out Gibbs sweeps between its early steps; the step limit counts forwards",
    .source = "arXiv:2605.22765; diffusers DiscreteDDIMScheduler.step_correct",
    .aliases = {},
    .parameters = {inner_sampler_param("ddim", "predictor that follows a known noise level"),
                   int_param("corrector_steps", 1, 0, 1000, "forwards", "sweeps after each corrected predictor step"),
                   int_param("k", 1, 0, 1e9, "positions", "redrawn in a sweep; more than 1 is approximate"),
                   real_param("tau", 1, 0, 1e6, "", "of the Gumbel-top-k choice; 0 takes the lowest scores"),
                   text_param("score", "margin", "what low values are redrawn first", {"margin", "max_prob", "current", "random"})},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<LooCorrector>(options); }});

}  // namespace
}  // namespace canvaslab
