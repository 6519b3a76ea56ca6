// slowfast - explore slowly until the reach of confident text is known, then fill that stretch fast; repeat to its right.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Cycles over [start, end). Explore, at most `exploration_steps` steps: the end is estimated as one past the farthest
/// open position with p(candidate) >= reach_threshold (else one further than start); it is settled when two successive
/// estimates have a standard deviation below `stability`, else at the last exploration step as their mean. Fill: until
/// nothing in [start, end) is open. At each step all positions with p >= threshold are revealed when they are two or
/// more, else the single surest: among those from start while exploring, inside the cycle while filling.
/// At least one position a step; the last step reveals all. Differs from the authors' script in moving on as soon as the
/// end is settled (it spends all exploration steps). Thresholds were tuned for a masked model.
/// Source: arXiv:2506.10848, LiangrunFlora/Slow-Fast-Sampling; samplers.md 4.11.
class SlowFast final : public Sampler {
 public:
  explicit SlowFast(const Options& options) : steps_(static_cast<double>(options.integer("exploration_steps"))), stability_(options.real("stability")) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(4, 0);
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto open = open_positions(view, state);
    renoise_open(view, state, decision);
    double &start = state.scratch[kStart], &end = state.scratch[kEnd];
    if (end > start && !any_open(open, start, end)) {  // the cycle is filled: explore to its right
      start = end;
      end = state.scratch[kExplored] = state.scratch[kEstimate] = 0;
    }
    const bool exploring = end == 0;
    std::vector<uint8_t> scope(open.size());
    for (size_t p = static_cast<size_t>(start); p < scope.size(); ++p) scope[p] = open[p] && (exploring || static_cast<double>(p) < end);
    if (exploring) explore(view, open, state);
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto order = order_by_falling(log_prob, view.is_last ? open : scope);
    const auto sure = static_cast<float>(std::log(view.knobs[0]));
    size_t count = 0;
    while (count < order.size() && log_prob[order[count]] >= sure) ++count;
    if (view.is_last) count = order.size();
    for (size_t i = 0; i < std::min(order.size(), std::max<size_t>(1, count)); ++i) take(order[i], Mode::kLocked, state, decision);
  }

 private:
  enum Slot { kStart, kEnd, kExplored, kEstimate };  // of scratch; end 0: still exploring; estimate 0: none yet
  static bool any_open(const std::vector<uint8_t>& open, double start, double end) {
    return std::find(open.begin() + static_cast<ptrdiff_t>(start), open.begin() + static_cast<ptrdiff_t>(end), 1) != open.begin() + static_cast<ptrdiff_t>(end);
  }
  void explore(const StepView& view, const std::vector<uint8_t>& open, CanvasState& state) const {
    const auto reach = static_cast<float>(std::log(view.knobs[1]));
    const double start = state.scratch[kStart], before = state.scratch[kEstimate];
    double estimate = std::min(start + 1, static_cast<double>(open.size()));
    for (size_t p = static_cast<size_t>(start); p < open.size(); ++p)
      if (open[p] && view.statistics->candidate_logprob[p] >= reach) estimate = static_cast<double>(p + 1);
    state.scratch[kEstimate] = estimate;
    const bool out_of_steps = ++state.scratch[kExplored] >= steps_;
    if (before > 0 && std::abs(estimate - before) / 2 < stability_) state.scratch[kEnd] = estimate;
    else if (out_of_steps) state.scratch[kEnd] = before > 0 ? std::floor((estimate + before) / 2) : estimate;
  }
  double steps_, stability_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "slowfast",
    .summary = "explore slowly until the reach of confident text is known, then fill that stretch fast",
    .source = "arXiv:2506.10848 (SlowFast); LiangrunFlora/Slow-Fast-Sampling, uniform-state form",
    .aliases = {"slow_fast"},
    .parameters = {schedule_param("threshold", 0.9, 0, 1, "probability", "positions at or above are revealed together"),
                   schedule_param("reach_threshold", 0.3, 0, 1, "probability", "the farthest open position at or above ends the stretch"),
                   int_param("exploration_steps", 6, 1, 1000000, "steps", "longest exploration of a stretch"),
                   real_param("stability", 1, 0, 1000000, "positions", "two estimates of the end are settled when their standard deviation is below")},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .permutation_equivariant = false, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<SlowFast>(options); }});

}  // namespace
}  // namespace canvaslab
