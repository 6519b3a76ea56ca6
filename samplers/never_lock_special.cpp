// never_lock_special - a filter: listed tokens are taken, but never for good.
#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// Around a sampler that locks: a position that takes a listed token stays open and competes again at the next step, so
/// that an early end token or a delimiter can still give way. Trailing end tokens are then never all revealed, hence the
/// default stop rule any_of(all_revealed, stable_and_confident). Listed tokens from before stay as they are.
/// Errors (usage): a sampler inside that locks nothing. Source: samplers.md 8.
class NeverLockSpecial final : public FilterSampler {
 public:
  explicit NeverLockSpecial(const Options& options) : FilterSampler(options, 0), ids_(token_ids(options, "ids")) {
    if (!inner().facts.locks)
      throw usage_error("sampler '{}': '{}' locks nothing, so there is nothing to keep open; put it around a sampler that locks", options.plugin, inner().canonical);
  }
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.min_accepted = inner().facts.min_accepted;
    SamplerFacts facts = FilterSampler::refine(declared);
    if (!facts.fixed_steps) facts.default_stop = "any_of(all_revealed, stable_and_confident)";
    return facts;
  }

 protected:
  void filter(const Taken& taken) const override {
    for (size_t p = 0; p < taken.view.length(); ++p)
      if (!taken.revealed_before[p] && contains(ids_, taken.token(p))) taken.state.revealed[p] = 0;
  }

 private:
  std::vector<int32_t> ids_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec inside = inner_sampler_param();
  inside.default_text = "confidence_threshold";
  return {inside, token_ids_param("ids", "tokens that are never locked")};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "never_lock_special",
    .summary = "filter: listed tokens are taken by another sampler, but never for good",
    .source = "ours; samplers.md 8",
    .aliases = {"keep_open"},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<NeverLockSpecial>(options); }});

}  // namespace
}  // namespace canvaslab
