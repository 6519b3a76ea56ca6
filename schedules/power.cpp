// power - from + (to - from) * u^exponent.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

class Power final : public Schedule {
 public:
  explicit Power(const Options& options) : ends_(options), exponent_(options.real("exponent")) {}
  double value(const Progress& progress) const override {
    return ends_.from + (ends_.to - ends_.from) * std::pow(progress.fraction(), exponent_);
  }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
  double exponent_;
};

std::vector<ParamSpec> parameters() {
  auto table = ends_params(0.8, 0.4);
  ParamSpec exponent = real_param("exponent", 1, 0, 1000, "", "1 is linear; above 1 stays near 'from' longer, below 1 leaves it early");
  exponent.above_min = true;
  table.push_back(exponent);
  return table;
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "power",
    .summary = "from + (to - from) * u^exponent with u = step / num_steps",
    .source = "google-deepmind/gemma temperature shaper; samplers.md 5.1",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Power>(options); }});

}  // namespace
}  // namespace canvaslab
