// by_entropy - longer canvases while the model is sure of them, shorter ones where it is not.
#include "samplers/length_policy.h"

namespace canvaslab {
namespace {

/// Starts at shortest. When the mean entropy at the last step of a canvas is at most `sure`, the next one is a factor
/// longer, else a factor shorter. Entropies are those at the step's temperature.
class ByEntropy final : public LengthPolicy {
 public:
  explicit ByEntropy(const Options& options) : bounds_(options), sure_(static_cast<float>(options.real("sure"))), factor_(options.real("factor")) {}
  int32_t shortest() const override { return bounds_.shortest; }
  int32_t longest() const override { return bounds_.longest; }
  int32_t next(const LengthView& view) const override {
    if (view.canvases.empty()) return bounds_.shortest;
    const FinishedCanvas& last = view.canvases.back();
    return bounds_.clamp(last.mean_entropy_nats <= sure_ ? last.length * factor_ : last.length / factor_);
  }

 private:
  LengthBounds bounds_;
  float sure_;
  double factor_;
};

std::vector<ParamSpec> parameters() {
  auto out = length_bounds(16, 256);
  out.push_back(real_param("sure", 0.005, 0, 1000, "nats", "mean entropy of a canvas's last step, at most, for a longer one"));
  out.push_back(real_param("factor", 2, 1, 1000, "", "by which lengths grow and shrink"));
  return out;
}

[[maybe_unused]] const bool registered = length_policies().add({
    .name = "by_entropy",
    .summary = "longer canvases while the last step of a canvas was sure, shorter ones while it was not",
    .source = "ours",
    .aliases = {"by_confidence"},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<ByEntropy>(options); }});

}  // namespace
}  // namespace canvaslab
