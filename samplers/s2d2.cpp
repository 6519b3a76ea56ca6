// s2d2 - self-speculation inside a canvas: at chosen steps the causal mode checks the first open span of the draft.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

enum class Router { kAlways, kSpan, kScore, kNever };

/// Every step: (1) the first run of open positions may be checked in the causal mode: from the left a candidate of draft
/// probability p and causal probability q stands with probability min(1, (q/p)^exponent), the first that does not is replaced
/// by a draw from the positive part of q - p; (2) with extras=on every other candidate above `confidence` is taken too;
/// (3) if fewer than the even quota was taken, the candidates above `confidence` are, or, where these are fewer than what is
/// missing, so many of the most confident. Whether to check: `router` = always; span: runs of at least `min_span`; score: the expected
/// number of accepted tokens, sum over k of the product of the first k acceptance estimates exp(-beta H / ln V), minus
/// `penalty` times the candidates that are above `confidence`, is at least `score`; never: no checks, the plain rule (3).
/// With router=always, exponent 1, extras=off and a quota that never asks for more, every token is a draw of the causal law;
/// tokens of (2) and (3) are not checked, so otherwise the law is in between.
/// Here the check is the causal append, over the canvas up to the run's end, instead of the authors' forward over a doubled
/// canvas, which masked models without a causal mode need; on uniform denoisers open positions hold fresh noise. Left out:
/// hysteresis and the bandit routers, and acceptance by a threshold on the ratio.
/// Source: arXiv:2603.25702; phymhan/S2D2 SDAR/generate_ssd_policy.py (confidence 0.85, penalty 2, beta 1).
class S2d2 final : public Sampler {
 public:
  explicit S2d2(const Options& options)
      : confidence_(std::log(options.real("confidence"))), checks_{.temperature = options.real("temperature"), .exponent = options.real("exponent")},
        extras_(options.boolean("extras")), quota_(options.boolean("quota")), min_span_(static_cast<size_t>(options.integer("min_span"))), score_(options.real("score")),
        penalty_(options.real("penalty")), beta_(options.real("beta")) {
    const std::string& name = options.text("router");
    router_ = name == "always" ? Router::kAlways : name == "span" ? Router::kSpan : name == "score" ? Router::kScore : Router::kNever;
  }
  SamplerFacts refine(SamplerFacts declared) const override {
    if (router_ != Router::kNever) declared.causal_checks = checks_;
    return declared;
  }
  std::pair<size_t, size_t> causal_span(const StepView& view, const CanvasState& state) const override {
    const auto open = open_positions(view, state);
    const auto begin = std::find(open.begin(), open.end(), uint8_t{1}), end = std::find(begin, open.end(), uint8_t{0});
    const std::pair<size_t, size_t> span = {static_cast<size_t>(begin - open.begin()), static_cast<size_t>(end - open.begin())};
    const bool worth = router_ == Router::kAlways || (router_ == Router::kSpan && span.second - span.first >= min_span_) ||
                       (router_ == Router::kScore && expected_gain(view, open, span) >= score_);
    return worth ? span : std::pair<size_t, size_t>{0, 0};
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    renoise_open(view, state, decision);
    std::vector<uint8_t> open = open_positions(view, state);
    const auto num_open = static_cast<size_t>(std::count(open.begin(), open.end(), uint8_t{1}));
    size_t taken = 0;
    const auto accept = [&](size_t p) {
      take(p, Mode::kLocked, state, decision);
      open[p] = 0;
      ++taken;
    };
    if (view.check) {
      const size_t behind = view.check->begin + view.check->num_accepted;
      for (size_t p = view.check->begin; p < behind; ++p) accept(p);
      if (view.check->replacement) {
        accept(behind);
        decision.token.assign(view.length(), 0);
        decision.token[behind] = *view.check->replacement;
        decision.action[behind] = Action::kToken;
      }
    }
    const auto sure = [&](size_t p) { return open[p] && view.statistics->candidate_logprob[p] > confidence_; };
    if (extras_)
      for (size_t p = 0; p < open.size(); ++p)
        if (sure(p)) accept(p);
    const size_t due = view.is_last ? num_open : std::min(num_open, std::max<size_t>(1, quota_ ? quota(view) : 1));
    if (taken >= due) return;
    const auto order = order_by_falling(view.statistics->candidate_logprob, open);
    size_t above = 0;
    while (above < order.size() && sure(order[above])) ++above;
    const size_t more = std::max(due - taken, above);
    for (size_t i = 0; i < std::min(more, order.size()); ++i) accept(order[i]);
  }

 private:
  /// The step's share of an even quota over the positions that are not pinned.
  static size_t quota(const StepView& view) {
    const size_t length = num_allowed(view), before = view.step_idx > 0 ? even_quota_target(length, view.step_idx - 1, view.num_steps) : 0;
    return even_quota_target(length, view.step_idx, view.num_steps) - before;
  }
  double expected_gain(const StepView& view, const std::vector<uint8_t>& open, std::pair<size_t, size_t> span) const {
    double all = 1, expected = 0, sure = 0;
    for (size_t p = span.first; p < span.second; ++p) {
      all *= std::exp(-beta_ * static_cast<double>(view.statistics->entropy_nats[p]) / std::log(static_cast<double>(view.vocabulary)));
      expected += all;
    }
    for (size_t p = 0; p < open.size(); ++p) sure += open[p] && view.statistics->candidate_logprob[p] > confidence_;
    return expected - penalty_ * sure;
  }
  double confidence_;
  SamplerFacts::CausalChecks checks_;
  bool extras_, quota_;
  Router router_ = Router::kAlways;
  size_t min_span_;
  double score_, penalty_, beta_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "s2d2",
    .summary = "self-speculation inside a canvas: the causal mode checks the first open run of a step's draft; the rest by confidence",
    .source = "arXiv:2603.25702 (S2D2); phymhan/S2D2",
    .aliases = {"self_speculative_block"},
    .parameters = {text_param("router", "score", "when to check: always, span (long runs), score (a gain is expected), never", {"always", "span", "score", "never"}),
                   real_param("confidence", 0.85, 0, 1, "probability", "candidates above it are taken without a check, where the rule looks at them"),
                   bool_param("extras", false, "take every sure candidate at every step, not only when the quota is not met"),
                   bool_param("quota", true, "at least the even quota a step; off: at least one position"),
                   real_param("temperature", 1, 0, 1000, "", "of the causal law"), real_param("exponent", 1, 0, 1000, "", "of the ratio q/p; below 1 accepts more"),
                   int_param("min_span", 8, 1, 1000000, "positions", "router=span: shortest run that is checked"),
                   real_param("score", -1, -1e6, 1e6, "tokens", "router=score: least expected gain"), real_param("penalty", 2, 0, 1e6, "tokens", "router=score: per candidate that is sure anyway"),
                   real_param("beta", 1, 0, 1e6, "", "router=score: how fast entropy spoils the expected acceptance")},
    .facts = {.statistics = {Statistic::kCandidate, Statistic::kEntropy}, .locks = true, .permutation_equivariant = false, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<S2d2>(options); }});

}  // namespace
}  // namespace canvaslab
