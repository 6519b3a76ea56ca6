// geometric_level - a noise level exp(-b) whose exponent falls by equal ratios from b_max to b_min.
#include <cmath>

#include "core/error.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// exp(-b_min^u b_max^(1 - u)): ends at exp(-b_min), close to but not at 1.
class GeometricLevel final : public Schedule {
 public:
  explicit GeometricLevel(const Options& options) : b_min_(options.real("b_min")), b_max_(options.real("b_max")) {
    if (b_max_ < b_min_)
      throw usage_error("schedule 'geometric_level': b_max ({}) is below b_min ({}); expected b_max >= b_min", format_real(b_max_), format_real(b_min_));
  }
  double value(const Progress& progress) const override {
    const double u = progress.fraction();
    return std::exp(-std::exp(u * std::log(b_min_) + (1 - u) * std::log(b_max_)));
  }
  std::pair<double, double> range() const override { return {value({.step_idx = 0, .num_steps = 1}), value({.step_idx = 1, .num_steps = 1})}; }

 private:
  double b_min_, b_max_;
};

std::vector<ParamSpec> parameters() {
  std::vector<ParamSpec> table = {real_param("b_min", 1e-4, 0, 1e6, "", "exponent at the clean end"), real_param("b_max", 20, 0, 1e6, "", "exponent at the noisy end")};
  for (auto& spec : table) spec.above_min = true;
  return table;
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "geometric_level",
    .summary = "a noise level exp(-b) whose exponent falls by equal ratios from b_max to b_min",
    .source = "google/hackable_diffusion geometric level (SEDD lineage); samplers.md 5.2; defaults ours",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<GeometricLevel>(options); }});

}  // namespace
}  // namespace canvaslab
