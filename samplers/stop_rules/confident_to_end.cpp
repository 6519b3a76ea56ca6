// confident_to_end - stable_and_confident over the text alone: what lies behind the first end token does not count.
#include <algorithm>

#include "core/token_ids.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// With e the first position whose argmax is an end token (none: the last position), stops when the argmax canvas up to e
/// equals each of the last `stability_threshold` ones and the mean entropy up to e is strictly below
/// `confidence_threshold`. Helps the last canvas of a text, whose tail otherwise dominates the mean. Pinned positions do
/// not count. Without end tokens it is stable_and_confident. Source: samplers.md 6.8 (derived there, not upstream).
class ConfidentToEnd final : public StopRule {
 public:
  explicit ConfidentToEnd(const Options& options)
      : ends_(token_ids(options, "end_ids")), stability_(static_cast<size_t>(options.integer("stability_threshold"))),
        confidence_(static_cast<float>(options.real("confidence_threshold"))) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory& history) const override {
    const auto& argmax = view.statistics->argmax;
    const auto end = std::find_if(argmax.begin(), argmax.end(), [&](int32_t token) { return contains(ends_, token); });
    const size_t length = end == argmax.end() ? view.length() : static_cast<size_t>(end - argmax.begin()) + 1;
    StepView text = view;
    text.canvas = view.canvas.first(length);  // helpers look at as many positions as the canvas has
    if (mean_entropy(text) >= confidence_ || !argmax_stable(text, history, static_cast<int64_t>(stability_))) return std::nullopt;
    return "confident_to_end";
  }

 private:
  std::vector<int32_t> ends_;
  size_t stability_;
  float confidence_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "confident_to_end",
    .summary = "stable_and_confident over the text up to its first end token",
    .source = "ours; samplers.md 6.8",
    .aliases = {},
    .parameters = {token_ids_param("end_ids", "end tokens"), int_param("stability_threshold", 1, 0, 1000, "steps", "earlier argmax canvases that must be equal up to the end; 0: always stable"),
                   real_param("confidence_threshold", 0.005, 0, 100, "nats", "mean entropy up to the end must be strictly below")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kEntropy}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<ConfidentToEnd>(options); }});

}  // namespace
}  // namespace canvaslab
