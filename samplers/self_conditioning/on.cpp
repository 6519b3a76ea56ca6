// on - every step is fed the prediction of the one before, at that step's temperature.
#include "samplers/self_conditioning.h"

namespace canvaslab {
namespace {

class On final : public Feedback {
 public:
  bool plain() const override { return true; }
};

[[maybe_unused]] const bool registered = self_conditionings().add({
    .name = "on",
    .summary = "every step is fed the prediction of the one before, at that step's temperature",
    .source = "arXiv:2208.04202; transformers, DiffusionGemma",
    .aliases = {"true"},
    .parameters = {},
    .facts = {},
    .make = [](const Options&) { return std::make_unique<On>(); }});

}  // namespace
}  // namespace canvaslab
