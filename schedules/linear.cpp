// linear - from + (to - from) * u with u = step / num_steps.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// With (0.001, 1) this is the log-linear level path of SEDD and MDLM, 1 - (1 - eps) t with eps = 0.001.
class Linear final : public Schedule {
 public:
  explicit Linear(const Options& options) : ends_(options) {}
  double value(const Progress& progress) const override { return ends_.from + (ends_.to - ends_.from) * progress.fraction(); }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "linear",
    .summary = "from + (to - from) * u with u = step / num_steps",
    .source = "ours; samplers.md 5.1",
    .aliases = {},
    .parameters = ends_params(0, 1),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Linear>(options); }});

}  // namespace
}  // namespace canvaslab
