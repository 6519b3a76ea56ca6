// polynomial - from + (to - from) * (1 - (1 - u)^degree): the mirror image of power.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// With (0, 1) the level path 1 - t^degree at time t = 1 - u.
class Polynomial final : public Schedule {
 public:
  explicit Polynomial(const Options& options) : ends_(options), degree_(options.real("degree")) {}
  double value(const Progress& progress) const override {
    return ends_.from + (ends_.to - ends_.from) * (1 - std::pow(1 - progress.fraction(), degree_));
  }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
  double degree_;
};

std::vector<ParamSpec> parameters() {
  auto table = ends_params(0, 1);
  ParamSpec degree = real_param("degree", 2, 0, 1000, "", "1 is linear; above 1 leaves 'from' early and settles slowly");
  degree.above_min = true;
  table.push_back(degree);
  return table;
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "polynomial",
    .summary = "from + (to - from) * (1 - (1 - u)^degree): fast at first for degrees above 1",
    .source = "google/hackable_diffusion polynomial level; samplers.md 5.2",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Polynomial>(options); }});

}  // namespace
}  // namespace canvaslab
