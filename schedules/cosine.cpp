// cosine - half a cosine wave from 'from' to 'to': slow at both ends.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// With (0, 1) this is sin^2(pi u / 2), the square-cosine level path of google/hackable_diffusion; the quarter waves are
/// sine and quarter_cosine.
class Cosine final : public Schedule {
 public:
  explicit Cosine(const Options& options) : ends_(options) {}
  double value(const Progress& progress) const override { return ends_.to + (ends_.from - ends_.to) * 0.5 * (1 + std::cos(M_PI * progress.fraction())); }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "cosine",
    .summary = "half a cosine wave from 'from' to 'to': slow at both ends",
    .source = "samplers.md 5.1",
    .aliases = {},
    .parameters = ends_params(0.8, 0.4),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Cosine>(options); }});

}  // namespace
}  // namespace canvaslab
