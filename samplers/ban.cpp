// ban - a filter: listed tokens are not taken.
#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// A position that would take a listed token is held back; at the last step it takes the better of its two most likely
/// tokens that is not listed, and only when both are listed the listed one. Unlike a filter on logits this leaves the
/// statistics as they are, and does not touch noise: an emitted argmax (--emit argmax) can still be a listed token.
/// No progress is promised: all of a step's candidates may be listed. Source: samplers.md 8.
class Ban final : public FilterSampler {
 public:
  explicit Ban(const Options& options) : FilterSampler(options, 0), ids_(token_ids(options, "ids")) {}

 protected:
  void filter(const Taken& taken) const override {
    for (size_t p = 0; p < taken.view.length(); ++p)
      if (listed(taken.token(p))) taken.hold_back(p);
  }
  void filter_last(const Taken& taken) const override {
    const RowStatistics& s = *taken.view.statistics;
    for (size_t p = 0; p < taken.view.length(); ++p) {
      if (!listed(taken.token(p))) continue;
      const int32_t other = !listed(s.argmax[p]) ? s.argmax[p] : s.second[p];
      if (listed(other)) continue;
      taken.decision.action[p] = Action::kToken;
      taken.decision.token.resize(taken.view.length(), 0);
      taken.decision.token[p] = other;
    }
  }

 private:
  bool listed(int32_t token) const { return contains(ids_, token); }
  std::vector<int32_t> ids_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "ban",
    .summary = "filter: another sampler does not take listed tokens",
    .source = "ours; samplers.md 8",
    .aliases = {},
    .parameters = {inner_sampler_param(), token_ids_param("ids", "tokens that are not taken")},
    .facts = {.statistics = {Statistic::kMax, Statistic::kTop2, Statistic::kCandidate}, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<Ban>(options); }});

}  // namespace
}  // namespace canvaslab
