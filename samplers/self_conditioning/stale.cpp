// stale - the prediction that is fed back is renewed at every k-th step only.
#include "samplers/self_conditioning.h"

namespace canvaslab {
namespace {

/// Steps 0, k, 2k, ... leave their prediction; the steps after each, up to and with the next of them, are fed it. The
/// prediction keeps the temperature of the step that made it.
class StaleFeedback final : public WrappingFeedback {
 public:
  explicit StaleFeedback(const Options& options) : WrappingFeedback(options), every_(options.integer("every")) {}
  bool renews(int32_t step_idx) const override { return step_idx % every_ == 0 && inner_->renews(step_idx); }

 private:
  int64_t every_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec every = int_param("every", 1, 1, 1'000'000, "steps", "the prediction fed back is renewed every so many steps; 1: at each, as on");
  every.required = true;
  return {every, inner_feedback_param()};
}

[[maybe_unused]] const bool registered = self_conditionings().add({
    .name = "stale",
    .summary = "the prediction that is fed back is renewed every so many steps only",
    .source = "ours",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<StaleFeedback>(options); }});

}  // namespace
}  // namespace canvaslab
