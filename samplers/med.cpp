// med - multi-token entropy decoding: take every position whose entropy is under a threshold.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Takes p when H_p < max_entropy (strict), and the least uncertain one when none qualifies. A bound per position where
/// entropy_bound has one for the whole canvas. The value of the threshold in the paper could not be verified; the default
/// is ours. Source: arXiv:2510.19990; samplers.md 4.6.
class Med final : public RankedSampler {
 public:
  using RankedSampler::RankedSampler;
  SamplerFacts refine(SamplerFacts declared) const override {
    declared = with_mode(declared, mode_);
    declared.product_law = mode_ == Mode::kMemoryless;
    return declared;
  }

 protected:
  std::vector<float> keys(const StepView& view) const override { return scores(view, Score::kEntropy); }
  size_t count(const StepView& view, const CanvasState&, std::span<const uint32_t> order) const override {
    const auto bound = static_cast<float>(view.knobs[0]);
    size_t n = 1;
    while (n < order.size() && view.statistics->entropy_nats[order[n]] < bound) ++n;
    return n;
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "med",
    .summary = "multi-token entropy decoding: take every position whose entropy is under a threshold",
    .source = "arXiv:2510.19990 (MED), uniform-state form; default threshold ours",
    .aliases = {"multi_token_entropy", "entropy_threshold"},
    .parameters = {schedule_param("max_entropy", 0.1, 0, 100, "nats", "positions strictly below are taken"), mode_param()},
    .facts = {.statistics = {Statistic::kEntropy, Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Med>(mode_of(options)); }});

}  // namespace
}  // namespace canvaslab
