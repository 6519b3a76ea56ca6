// quarter_cosine - a quarter wave from 'from' to 'to': slow at first, fast at the end.
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// from + (to - from) (1 - cos(pi u / 2)). With (0, 1) the level path of masked models (dllm) and MaskGIT's counts. The
/// half wave, sin^2(pi u / 2), is cosine(0, 1).
class QuarterCosine final : public Schedule {
 public:
  explicit QuarterCosine(const Options& options) : ends_(options) {}
  double value(const Progress& progress) const override {
    return ends_.from + (ends_.to - ends_.from) * (1 - std::cos(M_PI / 2 * progress.fraction()));
  }
  std::pair<double, double> range() const override { return ends_.range(); }

 private:
  Ends ends_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "quarter_cosine",
    .summary = "a quarter wave from 'from' to 'to': slow at first, fast at the end",
    .source = "ZHZisZZ/dllm cosine level; samplers.md 5.2",
    .aliases = {},
    .parameters = ends_params(0, 1),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<QuarterCosine>(options); }});

}  // namespace
}  // namespace canvaslab
