// by_steps - longer canvases while they settle quickly, shorter ones when they run out of steps.
#include "samplers/length_policy.h"

namespace canvaslab {
namespace {

/// Starts at shortest. A canvas that its stop rule ended within `few` of the step limit makes the next one a factor longer;
/// one that ran into the limit makes it a factor shorter; between the two the length stays. Without a stop rule every
/// canvas runs into its limit, and nothing grows.
class BySteps final : public LengthPolicy {
 public:
  explicit BySteps(const Options& options) : bounds_(options), few_(options.real("few")), factor_(options.real("factor")) {}
  int32_t shortest() const override { return bounds_.shortest; }
  int32_t longest() const override { return bounds_.longest; }
  int32_t next(const LengthView& view) const override {
    if (view.canvases.empty()) return bounds_.shortest;
    const FinishedCanvas& last = view.canvases.back();
    if (!last.stopped) return bounds_.clamp(last.length / factor_);
    return bounds_.clamp(last.num_steps <= few_ * view.max_steps ? last.length * factor_ : last.length);
  }

 private:
  LengthBounds bounds_;
  double few_, factor_;
};

std::vector<ParamSpec> parameters() {
  auto out = length_bounds(16, 256);
  out.push_back(real_param("few", 0.5, 0, 1, "fraction of the step limit", "a canvas that took at most so many steps makes the next one longer"));
  out.push_back(real_param("factor", 2, 1, 1000, "", "by which lengths grow and shrink"));
  return out;
}

[[maybe_unused]] const bool registered = length_policies().add({
    .name = "by_steps",
    .summary = "longer canvases while they settle in few steps, shorter ones when they run out of steps",
    .source = "ours",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<BySteps>(options); }});

}  // namespace
}  // namespace canvaslab
