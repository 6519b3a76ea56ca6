// entropy_bound - accept positions in rising entropy while the entropies before them stay under a bound; renoise the rest.
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// Sorts positions by (entropy, position) and accepts the k-th iff inclusive sum minus its own entropy <= bound: the
/// subtraction form, with sums rounded to f32, is the reference's; at least one position is always accepted. Pinned
/// positions take nothing and use up no bound.
/// Source: arXiv:2505.24857; renoising form as transformers' DiffusionGemma. Differs from it only where entropies tie
/// across the bound (its sort is unstable; here the lower position wins).
class EntropyBound final : public Sampler {
 public:
  std::optional<double> joint_entropy_bound(std::span<const double> knobs) const override { return knobs[0]; }
  void step(const StepView& view, CanvasState&, StepDecision& decision) const override {
    const auto& entropy = view.statistics->entropy_nats;
    const float bound = static_cast<float>(view.knobs[0]);
    decision.action.assign(view.length(), Action::kNoise);
    double sum = 0;
    for (uint32_t p : order_by(entropy, view.allowed)) {
      sum += entropy[p];
      if (static_cast<float>(sum) - entropy[p] > bound) break;
      decision.action[p] = Action::kCandidate;
    }
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "entropy_bound",
    .summary = "accept the lowest-entropy positions under a joint bound, renoise the rest",
    .source = "arXiv:2505.24857; renoising form of DiffusionGemma (transformers)",
    .aliases = {"eb"},
    .parameters = {schedule_param("entropy_bound", 0.1, 0, std::numeric_limits<double>::infinity(), "nats", "larger accepts more per step; inf accepts everything")},
    .facts = {.statistics = {Statistic::kEntropy, Statistic::kCandidate}, .revocable = true, .product_law = true, .min_accepted = 1,
              .reference_order = ReferenceOrder::kCandidateThenNoise, .default_stop = "stable_and_confident", .default_emission = "argmax"},
    .make = [](const Options&) { return std::make_unique<EntropyBound>(); }});

}  // namespace
}  // namespace canvaslab
