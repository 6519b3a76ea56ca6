// never - runs every canvas to its step limit.
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

class Never final : public StopRule {
 public:
  explicit Never(const Options&) {}
  std::optional<StableStop> stable_stop() const override { return StableStop{}; }  // no entropy is below 0
  std::optional<std::string> check(const StepView&, const CanvasState&, const StepDecision&, const StopHistory&) const override {
    return std::nullopt;
  }
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "never",
    .summary = "runs every canvas to its step limit",
    .source = "google-deepmind/gemma NoEarlyStop",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {}, .breaks_level = false},
    .make = [](const Options& options) { return std::make_unique<Never>(options); }});

}  // namespace
}  // namespace canvaslab
