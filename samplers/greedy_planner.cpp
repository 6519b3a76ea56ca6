// greedy_planner - ddim whose clean moves go to the most confident positions instead of random ones.
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Eligible are positions whose candidate differs from the token fed in; the k most confident of them take it, with
/// k = floor(eligible * (probability of a clean move)), which is floor(eligible / (N - i)) on the linear path. The others draw
/// between staying and noise with ddim's weights. k may be 0; the last step takes every candidate. Biased: no longer the
/// posterior, so marginals are not preserved. Ties to the lower position.
/// Source: google/hackable_diffusion GreedyPlanner on DiscreteDDIM; samplers.md 3.7.
class GreedyPlanner final : public LevelSampler {
 public:
  explicit GreedyPlanner(const Options& options) : LevelSampler(options), score_(score_of(options)) {}
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.statistics = declared.statistics | score_statistics(score_);
    return declared;
  }
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    decision.action.assign(view.length(), view.is_last ? Action::kCandidate : Action::kKeep);
    if (view.is_last) return;
    std::vector<uint8_t> eligible(view.length());
    for (size_t p = 0; p < eligible.size(); ++p) eligible[p] = view.is_allowed(p) && view.statistics->candidate[p] != view.canvas[p];
    const auto order = order_by_falling(scores(view, score_), eligible);
    const size_t budget = clean_moves(view, order.size());
    Routes rest = posterior_routes(view.level_now, view.level_next, false, view.vocabulary);
    rest.clean = 0;
    for (size_t i = 0; i < order.size(); ++i)
      decision.action[order[i]] = i < budget ? Action::kCandidate : route(rest, view.uniform(Purpose::kRoute, order[i]));
    for (size_t p = 0; p < eligible.size(); ++p) {
      if (eligible[p]) continue;
      // Candidate and token agree: a clean move is a stay.
      Routes agreeing = posterior_routes(view.level_now, view.level_next, true, view.vocabulary);
      agreeing.stay += agreeing.clean;
      agreeing.clean = 0;
      decision.action[p] = route(agreeing, view.uniform(Purpose::kRoute, p));
    }
  }

 private:
  /// On the linear path in whole numbers, so that an exact quotient is not lost to rounding.
  size_t clean_moves(const StepView& view, size_t eligible) const {
    if (!path_) return eligible / static_cast<size_t>(view.num_steps - view.step_idx);
    return static_cast<size_t>(static_cast<double>(eligible) * (view.level_next - view.level_now) / (1 - view.level_now));
  }
  Score score_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "greedy_planner",
    .summary = "ddim whose clean moves go to the most confident positions; exactly num_steps steps",
    .source = "google/hackable_diffusion GreedyPlanner",
    .aliases = {"planned_ddim"},
    .parameters = {score_param("confidence"), path_param()},
    .facts = {.statistics = {Statistic::kCandidate}, .needs_level = true, .revocable = true, .fixed_steps = true, .uniform_corruption_only = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<GreedyPlanner>(options); }});

}  // namespace
}  // namespace canvaslab
