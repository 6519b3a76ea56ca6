// entropy - stop when the entropy of the canvas is at or under a bound.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/token_ids.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The entropy of the canvas as its mean, its largest, a quantile, the mean over the positions that take a token at this step
/// (none taken: go on), or the mean up to the first end token of the argmax canvas. The mean lets a few open positions pass
/// on a long canvas; the largest does not; up to the end the tail behind the text has no say.
class Entropy final : public StopRule {
 public:
  explicit Entropy(const Options& options) : max_(static_cast<float>(options.real("max_entropy"))), over_(options.text("over")), quantile_(options.real("quantile")), ends_(token_ids(options, "end_ids")) {
    if (over_ == "to_end" && ends_.empty()) throw usage_error("stop rule 'entropy': over=to_end needs end_ids, the tokens that end a text");
  }
  StopFacts refine(StopFacts declared) const override {
    if (over_ == "to_end") declared.statistics = declared.statistics | StatisticSet{Statistic::kMax};
    return declared;
  }
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory&) const override {
    const std::optional<float> entropy = canvas_entropy(view, decision);
    if (entropy && *entropy <= max_) return "entropy";
    return std::nullopt;
  }

 private:
  std::optional<float> canvas_entropy(const StepView& view, const StepDecision& decision) const {
    if (over_ == "mean") return mean_entropy(view);
    if (over_ == "max") return at_quantile(view, 1);
    if (over_ == "quantile") return at_quantile(view, quantile_);
    return over_ == "taken" ? mean_taken(view, decision) : mean_to_end(view);
  }
  /// The smallest entropy that at least this share of the open positions does not exceed.
  static float at_quantile(const StepView& view, double share) {
    std::vector<float> sorted;
    for (size_t p = 0; p < view.length(); ++p)
      if (view.is_allowed(p)) sorted.push_back(view.statistics->entropy_nats[p]);
    if (sorted.empty()) return 0;
    std::sort(sorted.begin(), sorted.end());
    const double rank = std::ceil(share * static_cast<double>(sorted.size()));
    return sorted[static_cast<size_t>(std::max(1.0, rank)) - 1];
  }
  float mean_to_end(const StepView& view) const {
    double sum = 0, count = 0;
    for (size_t p = 0; p < view.length(); ++p) {
      if (view.is_allowed(p)) sum += view.statistics->entropy_nats[p], ++count;
      if (contains(ends_, view.is_allowed(p) ? view.statistics->argmax[p] : view.canvas[p])) break;
    }
    return count == 0 ? 0 : static_cast<float>(sum / count);
  }
  static std::optional<float> mean_taken(const StepView& view, const StepDecision& decision) {
    double sum = 0, count = 0;
    for (size_t p = 0; p < decision.action.size(); ++p) {
      if (!view.is_allowed(p) || decision.action[p] == Action::kNoise || decision.action[p] == Action::kKeep) continue;
      sum += view.statistics->entropy_nats[p];
      count += 1;
    }
    if (count == 0) return std::nullopt;
    return static_cast<float>(sum / count);
  }
  float max_;
  std::string over_;
  double quantile_;
  std::vector<int32_t> ends_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "entropy",
    .summary = "stop when the entropy of the canvas is at or under a bound",
    .source = "google-deepmind/gemma EntropyEarlyStop (<=)",
    .aliases = {},
    .parameters = {real_param("max_entropy", 0.005, 0, 100, "nats", "of tempered logits"),
                   added_late(text_param("over", "mean", "mean, max or a quantile over the canvas, the mean over the positions taken at this step, or the mean up to the first end token", {"mean", "max", "taken", "quantile", "to_end"})),
                   added_late(real_param("quantile", 0.9, 0, 1, "fraction", "over=quantile: share of the open positions that must be at or under the bound")),
                   added_late(token_ids_param("end_ids", "over=to_end: end tokens"))},
    .facts = {.statistics = {Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Entropy>(options); }});

}  // namespace
}  // namespace canvaslab
