// spacing - a filter: what is newly taken at one step lies at least a distance apart.
#include <cstdlib>

#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// Of the positions that take a token the canvas does not show yet, in falling probability of that token (ties: lower
/// position), those closer than `distance` to one already let through are held back; the best one always passes. Tokens
/// that were on the canvas pass: their neighbours saw them. same_token=on only separates equal tokens, which guards
/// against doubled words. Not at the last step.
/// Source: arXiv:2506.19037 (dilation as a filter), samplers.md 4.13; same_token after arXiv:2606.15805's inhibition of
/// overlapping neighbours (newer.md 3.7, cheapest form).
class Spacing final : public FilterSampler {
 public:
  explicit Spacing(const Options& options) : FilterSampler(options, 0), distance_(options.integer("distance")), same_token_(options.boolean("same_token")) {}

 protected:
  void filter(const Taken& taken) const override {
    const size_t length = taken.view.length();
    std::vector<float> key(length);
    std::vector<uint8_t> fresh(length);
    for (size_t p = 0; p < length; ++p)
      if ((fresh[p] = taken.changes(p))) key[p] = taken.log_prob(p);
    std::vector<uint8_t> passed(length);
    for (uint32_t p : order_by_falling(key, fresh)) {
      if (has_close(taken, passed, p)) taken.hold_back(p);
      else passed[p] = 1;
    }
  }

 private:
  bool has_close(const Taken& taken, const std::vector<uint8_t>& passed, size_t p) const {
    const size_t reach = static_cast<size_t>(distance_ - 1), last = std::min(passed.size() - 1, p + reach);
    for (size_t q = p > reach ? p - reach : 0; q <= last; ++q)
      if (passed[q] && (!same_token_ || taken.token(q) == taken.token(p))) return true;
    return false;
  }
  int64_t distance_;
  bool same_token_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "spacing",
    .summary = "filter: what another sampler newly takes at one step lies at least a distance apart",
    .source = "arXiv:2506.19037 (DUS) as a filter",
    .aliases = {},
    .parameters = {inner_sampler_param(), int_param("distance", 2, 1, 1000000, "positions", "smallest distance between positions newly taken at one step; 1 filters nothing"),
                   bool_param("same_token", false, "only positions that take the same token are kept apart")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .permutation_equivariant = false, .min_accepted = 1, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<Spacing>(options); }});

}  // namespace
}  // namespace canvaslab
