// end_fill - a filter: what stands behind a revealed end token becomes end tokens too, for good.
#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// Around a sampler that locks: once an end token is revealed, every open position behind the first one takes the same token and is
/// revealed, so that no forward is spent on text that is cut away, and all_revealed can end the canvas early. Positions
/// behind it that were revealed before, or are pinned, keep their tokens (the authors' code overwrites them; the text ends before
/// them either way). An end token that comes too early is not taken back: beside it the text before it is still filled in.
/// Errors (usage): a sampler inside that locks nothing.
/// Source: inclusionAI/dInfer parallel_strategy.py, early stop of its threshold decoder; samplers.md 6.8 (fill).
class EndFill final : public FilterSampler {
 public:
  explicit EndFill(const Options& options) : FilterSampler(options, 0), ends_(token_ids(options, "end_ids")) {
    if (!inner().facts.locks)
      throw usage_error("sampler '{}': '{}' locks nothing, so no end token is final; put it around a sampler that locks", options.plugin, inner().canonical);
  }
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.min_accepted = inner().facts.min_accepted;
    return FilterSampler::refine(declared);
  }

 protected:
  void filter(const Taken& taken) const override {
    size_t end = 0;
    while (end < taken.view.length() && !(taken.state.revealed[end] && contains(ends_, shown(taken, end)))) ++end;
    if (end == taken.view.length()) return;
    const int32_t token = shown(taken, end);
    taken.decision.token.resize(taken.view.length(), 0);
    for (size_t p = end + 1; p < taken.view.length(); ++p) {
      if (taken.state.revealed[p] || !taken.view.is_allowed(p)) continue;
      taken.decision.action[p] = Action::kToken;
      taken.decision.token[p] = token;
      taken.state.revealed[p] = 1;
    }
  }

 private:
  /// The token of a revealed position after this step.
  static int32_t shown(const Taken& taken, size_t position) {
    const int32_t token = taken.token(position);
    return token >= 0 ? token : taken.view.canvas[position];
  }
  std::vector<int32_t> ends_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec inside = inner_sampler_param();
  inside.default_text = "confidence_threshold";
  return {inside, token_ids_param("end_ids", "end tokens")};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "end_fill",
    .summary = "filter: what stands behind a revealed end token becomes end tokens too, for good",
    .source = "inclusionAI/dInfer parallel_strategy.py (early stop)",
    .aliases = {},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate}, .permutation_equivariant = false, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<EndFill>(options); }});

}  // namespace
}  // namespace canvaslab
