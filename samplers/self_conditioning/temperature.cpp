// temperature - the prediction is fed back at a temperature of its own instead of the step's.
#include "samplers/self_conditioning.h"

namespace canvaslab {
namespace {

ParamSpec temperature_param() {
  ParamSpec out = schedule_param("temperature", 1, 0, 1000, "", "of the prediction fed back; a schedule is taken at the step that made it. For 0 use top_k(1)");
  out.above_min = true;
  out.required = true;
  return out;
}

class TemperedFeedback final : public WrappingFeedback {
 public:
  explicit TemperedFeedback(const Options& options) : WrappingFeedback(options), temperature_(make_schedule(options.schedule("temperature"))) {
    check_schedule_range(*temperature_, temperature_param(), "self-conditioning 'temperature', parameter 'temperature'");
  }
  bool shapes() const override { return true; }
  std::optional<double> temperature(const Progress& ramp) const override { return temperature_->value(ramp); }

 private:
  std::unique_ptr<Schedule> temperature_;
};

[[maybe_unused]] const bool registered = self_conditionings().add({
    .name = "temperature",
    .summary = "the prediction is fed back at a temperature of its own instead of the step's",
    .source = "ours",
    .aliases = {},
    .parameters = {temperature_param(), inner_feedback_param()},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<TemperedFeedback>(options); }});

}  // namespace
}  // namespace canvaslab
