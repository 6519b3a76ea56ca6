// kl_plateau - stop when the distributions have stopped moving.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The mean over positions of KL(this step || step before), at temperature 1 and without filters, is below a bound; never at
/// the first step. Unlike an entropy bound it fires on text that is settled but open-ended; noise that is redrawn at every step
/// keeps it up. Source: KLASS's statistic (arXiv:2511.05664) as a stop rule; samplers.md 6.10.
class KlPlateau final : public StopRule {
 public:
  explicit KlPlateau(const Options& options) : max_kl_(options.real("max_kl")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    double sum = 0, count = 0;
    for (size_t p = 0; p < view.length(); ++p) {
      if (!view.is_allowed(p)) continue;
      sum += view.statistics->kl_nats[p];  // infinite at the first step
      count += 1;
    }
    if (count == 0 || sum < max_kl_ * count) return "kl_plateau";
    return std::nullopt;
  }

 private:
  double max_kl_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "kl_plateau",
    .summary = "stop when the distributions have moved little since the step before",
    .source = "ours; after arXiv:2511.05664",
    .aliases = {},
    .parameters = {real_param("max_kl", 0.01, 0, 100, "nats", "mean divergence from the step before must be strictly below")},
    .facts = {.statistics = {Statistic::kDivergence}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<KlPlateau>(options); }});

}  // namespace
}  // namespace canvaslab
