// off - nothing is fed back: every step is a first one.
#include "samplers/self_conditioning.h"

namespace canvaslab {
namespace {

class Off final : public Feedback {
 public:
  bool feeds() const override { return false; }
  bool plain() const override { return true; }
};

[[maybe_unused]] const bool registered = self_conditionings().add({
    .name = "off",
    .summary = "nothing is fed back: every step is a first one",
    .source = "arXiv:2208.04202",
    .aliases = {"false"},
    .parameters = {},
    .facts = {},
    .make = [](const Options&) { return std::make_unique<Off>(); }});

}  // namespace
}  // namespace canvaslab
