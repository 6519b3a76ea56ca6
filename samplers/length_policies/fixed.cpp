// fixed - every canvas has the same length.
#include "samplers/length_policy.h"

namespace canvaslab {
namespace {

class Fixed final : public LengthPolicy {
 public:
  explicit Fixed(const Options& options) : length_(static_cast<int32_t>(options.integer("length"))) {}
  int32_t shortest() const override { return length_; }
  int32_t longest() const override { return length_; }
  int32_t next(const LengthView&) const override { return length_; }

 private:
  int32_t length_;
};

[[maybe_unused]] const bool registered = length_policies().add({
    .name = "fixed",
    .summary = "every canvas has the same length; a bare number means this",
    .source = "transformers generation_diffusion_gemma (canvas_length)",
    .aliases = {},
    .parameters = {int_param("length", 256, 1, 1 << 20, "tokens", "of every canvas")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Fixed>(options); }});

}  // namespace
}  // namespace canvaslab
