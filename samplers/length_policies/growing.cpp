// growing - every canvas is a factor longer than the one before, up to a limit.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "samplers/length_policy.h"

namespace canvaslab {
namespace {

/// shortest, shortest * factor, shortest * factor^2, ..., rounded, up to longest: the text's beginning, which everything
/// later leans on, in small canvases; the rest in few.
class Growing final : public LengthPolicy {
 public:
  explicit Growing(const Options& options) : bounds_(options), factor_(options.real("factor")) {}
  int32_t shortest() const override { return bounds_.shortest; }
  int32_t longest() const override { return bounds_.longest; }
  int32_t next(const LengthView& view) const override { return bounds_.clamp(bounds_.shortest * std::pow(factor_, static_cast<double>(view.canvases.size()))); }

 private:
  LengthBounds bounds_;
  double factor_;
};

std::vector<ParamSpec> parameters() {
  auto out = length_bounds(16, 256);
  out.push_back(real_param("factor", 2, 1, 1000, "", "from one canvas to the next"));
  return out;
}

[[maybe_unused]] const bool registered = length_policies().add({
    .name = "growing",
    .summary = "every canvas is a factor longer than the one before, from shortest to longest",
    .source = "ours",
    .aliases = {"geometric"},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Growing>(options); }});

}  // namespace
}  // namespace canvaslab
