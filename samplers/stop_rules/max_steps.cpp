// max_steps - stop after a number of steps, leaving schedules as they are.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class MaxSteps final : public StopRule {
 public:
  explicit MaxSteps(const Options& options) : steps_(options.integer("steps")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    if (view.step_idx + 1 >= steps_) return "max_steps";
    return std::nullopt;
  }

 private:
  int64_t steps_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "max_steps",
    .summary = "stop after a number of steps, leaving schedules as they are",
    .source = "ours",
    .aliases = {},
    .parameters = {int_param("steps", 48, 1, 1000000, "steps", "stop after this many")},
    .facts = {.statistics = {}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<MaxSteps>(options); }});

}  // namespace
}  // namespace canvaslab
