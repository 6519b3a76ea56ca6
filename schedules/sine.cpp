// sine - a quarter wave from 'from' to 'to': fast at first, slow at the end.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// from + (to - from) sin(pi u / 2). With (0, 1) the level path that google/hackable_diffusion calls cosine.
class Sine final : public Schedule {
 public:
  explicit Sine(const Options& options) : ends_(options) {}
  double value(const Progress& progress) const override { return ends_.from + (ends_.to - ends_.from) * std::sin(M_PI / 2 * progress.fraction()); }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "sine",
    .summary = "a quarter wave from 'from' to 'to': fast at first, slow at the end",
    .source = "google/hackable_diffusion cosine level; samplers.md 5.2",
    .aliases = {},
    .parameters = ends_params(0, 1),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Sine>(options); }});

}  // namespace
}  // namespace canvaslab
