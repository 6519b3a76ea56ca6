// all_of - stop when all of its children would.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class AllOf final : public StopRule {
 public:
  explicit AllOf(const Options& options) {
    for (const auto& child : options.plugins("rules")) children_.push_back(stop_rules().make(child));
  }
  std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision& decision,
                                   const StopHistory& history) const override {
    std::string reasons;
    for (const auto& child : children_) {
      const auto reason = child->check(view, state, decision, history);
      if (!reason) return std::nullopt;
      reasons += (reasons.empty() ? "" : "+") + *reason;
    }
    return reasons;
  }

 private:
  std::vector<std::unique_ptr<StopRule>> children_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "all_of",
    .summary = "stop when all of its children would",
    .source = "google-deepmind/gemma chained early stopping",
    .aliases = {},
    .parameters = {plugins_param("rules", [](const PluginExpr& rule) { return stop_rules().resolve(rule).canonical(); }, "stop rules")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<AllOf>(options); }});

}  // namespace
}  // namespace canvaslab
