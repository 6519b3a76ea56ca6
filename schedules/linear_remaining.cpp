// linear_remaining - the reference's temperature: t_min + (t_max - t_min) * remaining / num_steps, in f32.
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// Every operation in f32, in the reference's order: computed in double and narrowed, 12 of its 48 values differ by one
/// ulp. Over the ramp remaining counts down from num_steps to 1, so t_min itself is reached only by steps beyond it.
class LinearRemaining final : public Schedule {
 public:
  explicit LinearRemaining(const Options& options) : t_min_(options.real("t_min")), t_max_(options.real("t_max")) {
    if (t_max_ < t_min_)
      throw usage_error("schedule 'linear_remaining': t_max ({}) is below t_min ({}); expected t_max >= t_min", format_real(t_max_), format_real(t_min_));
  }
  double value(const Progress& progress) const override {
    const int32_t remaining = std::max(0, progress.num_steps - progress.step_idx);
    const float fraction = static_cast<float>(remaining) / static_cast<float>(progress.num_steps);
    const float slope = static_cast<float>(t_max_ - t_min_);
    const float scaled = slope * fraction;
    return static_cast<double>(static_cast<float>(t_min_) + scaled);
  }
  std::pair<double, double> range() const override { return {t_min_, t_max_}; }

 private:
  double t_min_, t_max_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "linear_remaining",
    .summary = "t_min + (t_max - t_min) * remaining / num_steps, in f32 as the reference",
    .source = "transformers generation_diffusion_gemma; model.md 5.2",
    .aliases = {},
    .parameters = {real_param("t_min", 0.4, 0, 1000, "", "limit that the ramp approaches; steps beyond the ramp have it"),
                   real_param("t_max", 0.8, 0, 1000, "", "value at the first step")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<LinearRemaining>(options); }});

}  // namespace
}  // namespace canvaslab
