// cap - a filter: at most so many positions are newly taken at one step.
#include <cmath>

#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// Of the positions that take a token the canvas does not show yet, the `max_accepted` most probable pass (ties: lower
/// position) and the others are held back. Tokens that were on the canvas pass. Not at the last step.
/// Source: WINO's cap on drafts (arXiv:2507.18578) as a filter; samplers.md 8.
class Cap final : public FilterSampler {
 public:
  explicit Cap(const Options& options) : FilterSampler(options, 1) {}

 protected:
  void filter(const Taken& taken) const override {
    const size_t length = taken.view.length();
    std::vector<float> key(length);
    std::vector<uint8_t> fresh(length);
    for (size_t p = 0; p < length; ++p)
      if ((fresh[p] = taken.changes(p))) key[p] = taken.log_prob(p);
    const auto order = order_by_falling(key, fresh);
    for (size_t i = static_cast<size_t>(taken.view.knobs[0]); i < order.size(); ++i) taken.hold_back(order[i]);
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "cap",
    .summary = "filter: another sampler newly takes at most so many positions at one step",
    .source = "arXiv:2507.18578 (WINO's cap) as a filter",
    .aliases = {},
    .parameters = {inner_sampler_param(), schedule_param("max_accepted", 32, 1, 1000000, "positions", "largest number newly taken at one step; fractions round down")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .min_accepted = 1, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<Cap>(options); }});

}  // namespace
}  // namespace canvaslab
