// geometric - equal ratios from 'from' to 'to', for knobs that span magnitudes.
#include <cmath>

#include "core/error.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// from^(1 - u) to^u; both positive.
class Geometric final : public Schedule {
 public:
  explicit Geometric(const Options& options) : ends_(options) {}
  double value(const Progress& progress) const override {
    const double u = progress.fraction();
    return u == 0 ? ends_.from : u == 1 ? ends_.to : std::exp((1 - u) * std::log(ends_.from) + u * std::log(ends_.to));
  }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
};

std::vector<ParamSpec> parameters() {
  auto table = ends_params(0.01, 1);
  for (auto& spec : table) spec.min = 0, spec.above_min = true;
  return table;
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "geometric",
    .summary = "equal ratios from 'from' to 'to', for knobs that span magnitudes",
    .source = "SEDD's geometric noise; samplers.md 5.2",
    .aliases = {"exponential"},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Geometric>(options); }});

}  // namespace
}  // namespace canvaslab
